import { readFileSync } from 'node:fs';
import { bootMachine, type Machine, whyNoMachine } from '../systemd/machine.ts';
import { until } from '../until.ts';
import { type Network, type Reached, sshdConfig, withoutNetworks } from './network.ts';

/** A machine of a network whose first process is systemd, with a real sshd as a service of it, and nothing of ours. */
export interface BootedMachine extends Reached {
  readonly machine: Machine;
}

/** Why there can be none here; false when there can. */
export function withoutBootedMachines(): string | false {
  return whyNoMachine() ?? withoutNetworks();
}

export async function bootOn(network: Network): Promise<BootedMachine> {
  const machine = await bootMachine({ programs: 'none' });
  try {
    return { machine, ...(await furnish(machine, network)) };
  } catch (thrown) {
    await machine.stop();
    throw thrown;
  }
}

async function furnish(machine: Machine, network: Network): Promise<Reached> {
  const hostKey = '/etc/ssh/host_key';
  machine.output('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', hostKey);
  machine.write('/etc/ssh/sshd_config', sshdConfig);
  machine.write('/root/.ssh/authorized_keys', readFileSync(`${network.identity}.pub`, 'utf8'), 0o600);
  // Not the name of a unit that this machine's disk may have.
  const service = ['--unit=reached-by-ssh', '--property=RuntimeDirectory=sshd'];
  machine.output('systemd-run', ...service, '/usr/sbin/sshd', '-D', '-e');
  const reached = await network.plugIn(machine.pid, machine.output('cat', `${hostKey}.pub`));
  const answers = async () => {
    const said = await reached.ssh('echo here').catch(() => '');
    return said === 'here\n';
  };
  await until('sshd answers', answers);
  return reached;
}
