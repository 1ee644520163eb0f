import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { appendFileSync, chmodSync, cpSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { librariesOf, type Machine, makeMachine, which, withoutMachines } from '../packages/machine.ts';
import { makeTemporaryFolder, takeCareOf } from '../system/leftovers.ts';

const run = promisify(execFile);

/** A machine as others of its network see it. */
export interface Reached {
  readonly address: string;
  /** Runs a script there over ssh, as root. */
  ssh(script: string): Promise<string>;
}

/** A machine with a real sshd, in a network namespace of its own. */
export interface SshMachine extends Reached {
  readonly name: string;
  readonly root: string;
}

/** A network that leads nowhere else: a bridge, machines on it, and the place that they are deployed from. */
export interface Network {
  /** For ssh: key, and the host keys that count. */
  readonly identity: string;
  readonly knownHosts: string;
  add(name: string): Promise<SshMachine>;
  /** Gives another machine a network card. @param process one of it; @param hostKey public, by which it is known from now on */
  plugIn(process: number, hostKey: string): Promise<Reached>;
  /** Runs a program of this machine there. Rejects never. */
  run(command: string, args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  remove(): Promise<void>;
}

/** Why there can be none here; false when there can. */
export function withoutNetworks(): string | false {
  const missing = ['sshd', 'ssh', 'ssh-keygen', 'nsenter', 'ip', 'openssl'].filter((name) => which(name) === undefined);
  return withoutMachines() || (missing.length > 0 ? `missing: ${missing.join(', ')}` : false);
}

/** Of every machine. It listens wherever there is a card. */
export const sshdConfig = `Port 22
HostKey /etc/ssh/host_key
PasswordAuthentication no
UsePAM no
PidFile none
`;

/** Waits until it has a network card, and becomes a machine whose first program is sshd. */
const enter = `
  echo here && read go
  mount -t tmpfs none "$1/dev" && mount -t proc none "$1/proc" && mkdir "$1/dev/shm" && chmod 1777 "$1/dev/shm"
  for one in null:3 zero:5 random:8 urandom:9; do mknod -m 666 "$1/dev/\${one%:*}" c 1 "\${one#*:}"; done
  exec chroot "$1" /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config`;

/** Where no systemd runs: what starts and stops the programs, as docs/deploy/README.md describes it. */
const service = `#!/bin/sh
pid=/run/$2.pid log=/var/log/$2.log
case $2 in
  sigilwatch-collector) run='sigilwatch-collector run --config /etc/sigilwatch/collector.yaml' ;;
  sigilwatch-agent) run='sigilwatch-agent run --config /etc/sigilwatch/agent.yaml' ;;
  *) exit 0 ;; # there is no engine
esac
alive() { [ -s $pid ] && kill -0 "$(cat $pid)" 2>/dev/null; }
case $1 in
  start) setsid su -s /bin/sh $2 -c "exec $run" >>$log 2>&1 & echo $! >$pid ;;
  stop) if alive; then kill "$(cat $pid)"; while alive; do sleep 0.1; done; fi; rm -f $pid ;;
  active) alive ;;
  log) cat $log ;;
esac
`;

/** The first line that a child writes to standard output. */
function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    if (child.stdout !== null) createInterface(child.stdout).once('line', resolve);
    child.once('exit', (code) => reject(new Error(`ended with ${code}`)));
  });
}

export async function makeNetwork(): Promise<Network> {
  const folder = makeTemporaryFolder('sigilwatch-network-');
  const [identity, knownHosts] = [join(folder.path, 'key'), join(folder.path, 'known_hosts')];
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', identity]);
  writeFileSync(knownHosts, '');
  const children: ChildProcess[] = [];
  const machines: Machine[] = [];
  const end = () => {
    for (const child of children) child.kill('SIGKILL');
  };
  const bridge = 'ip link set lo up && ip link add br0 type bridge && ip addr add 10.77.0.1/24 dev br0';
  const holder = spawn('unshare', ['--net', 'sh', '-euc', `${bridge} && ip link set br0 up && echo here && exec cat`]);
  children.push(holder);
  const forget = takeCareOf({ remove: async () => end(), removeNow: end });
  await firstLine(holder);
  const inside = ['-t', String(holder.pid), '--net'];
  const go = (command: string, args: readonly string[]) => run('nsenter', [...inside, command, ...args]);
  let cards = 0;
  const plugIn = async (process: number, hostKey: string): Promise<Reached> => {
    const card = `v${++cards}`;
    const address = `10.77.0.${9 + cards}`;
    appendFileSync(knownHosts, `${address} ${hostKey.trim()}\n`);
    const there = (...command: string[]) => run('nsenter', ['-t', String(process), '--net', 'ip', ...command]);
    await go('ip', ['link', 'add', card, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(process)]);
    await go('ip', ['link', 'set', card, 'master', 'br0', 'up']);
    await there('link', 'set', 'lo', 'up');
    await there('addr', 'add', `${address}/24`, 'dev', 'eth0');
    await there('link', 'set', 'eth0', 'up');
    const options = ['-i', identity, '-o', `UserKnownHostsFile=${knownHosts}`, '-o', 'BatchMode=yes'];
    return { address, ssh: async (script) => (await go('ssh', [...options, `root@${address}`, script])).stdout };
  };
  const add = async (name: string): Promise<SshMachine> => {
    const machine = makeMachine();
    machines.push(machine);
    furnish(machine.root, `${identity}.pub`);
    const isolation = ['--net', '--mount', '--pid', '--ipc', '--fork', '--kill-child'];
    const child = spawn('unshare', [...isolation, 'sh', '-euc', enter, 'sh', machine.root], {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    });
    children.push(child);
    await firstLine(child);
    if (child.pid === undefined) throw new Error(`${name} has ended`);
    const reached = await plugIn(child.pid, readFileSync(join(machine.root, 'etc/ssh/host_key.pub'), 'utf8'));
    const listening = new Promise<void>((resolve) => {
      createInterface(child.stderr).on('line', (line) => line.startsWith('Server listening') && resolve());
    });
    child.stdin.write('go\n');
    await listening;
    return { name, root: machine.root, ...reached };
  };
  return {
    ...{ identity, knownHosts, add, plugIn },
    run: async (command, args) => {
      try {
        return { code: 0, ...(await go(command, args)) };
      } catch (thrown) {
        if (!(thrown instanceof Error) || !('stdout' in thrown) || !('stderr' in thrown)) throw thrown;
        const code = 'code' in thrown && typeof thrown.code === 'number' ? thrown.code : -1;
        return { code, stdout: String(thrown.stdout), stderr: String(thrown.stderr) };
      }
    },
    remove: async () => {
      const ended = children.map((child) => new Promise((resolve) => child.once('close', resolve)));
      end();
      await Promise.all(ended);
      forget();
      await Promise.all([...machines.map((machine) => machine.remove()), folder.remove()]);
    },
  };
}

/** What a machine has that one can reach by ssh, and a program that starts others in place of systemd. */
function furnish(root: string, publicKey: string): void {
  for (const path of ['etc/ssh', 'etc/sigilwatch', 'root/.ssh', 'run/sshd', 'var/log', 'var/empty']) {
    mkdirSync(join(root, path), { recursive: true });
  }
  for (const path of ['root', 'root/.ssh']) chmodSync(join(root, path), 0o700);
  const sshd = realpathSync(which('sshd') ?? '');
  cpSync(sshd, join(root, 'usr/bin/sshd'));
  for (const path of librariesOf([sshd])) {
    const to = join(root, 'usr/lib', path.slice(path.lastIndexOf('/') + 1));
    mkdirSync(dirname(to), { recursive: true });
    cpSync(realpathSync(path), to);
  }
  appendFileSync(join(root, 'etc/passwd'), 'sshd:x:101:101::/var/empty:/bin/false\n');
  appendFileSync(join(root, 'etc/group'), 'sshd:x:101:\n');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(root, 'etc/ssh/host_key')]);
  writeFileSync(join(root, 'etc/ssh/sshd_config'), sshdConfig);
  writeFileSync(join(root, 'root/.ssh/authorized_keys'), readFileSync(publicKey), { mode: 0o600 });
  writeFileSync(join(root, 'etc/sigilwatch/service'), service, { mode: 0o755 });
}
