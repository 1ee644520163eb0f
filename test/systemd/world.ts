import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { jsonLine, projectRoot } from '../system/program.ts';
import { until } from '../until.ts';
import type { Machine } from './machine.ts';

const units = join(projectRoot, 'systemd');
const usersOf = '.sysusers.conf';

/** Puts units and users in place, as an operator does, and settings that say as little as can be. */
export function install(machine: Machine): void {
  for (const name of readdirSync(units)) {
    if (!name.endsWith(usersOf)) machine.write(join('/etc/systemd/system', name), unitText(name));
  }
  makeUsers(machine);
  machine.write('/etc/sigilwatch/collector.yaml', 'integrity: {schedule: "off"}\n');
  machine.write('/etc/sigilwatch/agent.yaml', 'integrity: {schedule: "off"}\n');
  machine.output('systemctl', 'daemon-reload');
}

/** The users and groups that the units want. */
export function makeUsers(machine: Machine): void {
  for (const name of readdirSync(units)) {
    if (name.endsWith(usersOf)) machine.write(join('/usr/lib/sysusers.d', name), unitText(name));
  }
  machine.output('systemd-sysusers');
}

export function unitText(name: string): string {
  return readFileSync(join(units, name), 'utf8');
}

/** Says more in a unit, as `systemctl edit` does. */
export function addDropIn(machine: Machine, unit: string, lines: readonly string[], name = 'test'): void {
  machine.write(`/etc/systemd/system/${unit}.d/${name}.conf`, `${lines.join('\n')}\n`);
  machine.output('systemctl', 'daemon-reload');
}

/** What systemd knows about a unit. */
export function property(machine: Machine, unit: string, name: string): string {
  return machine.output('systemctl', 'show', '--value', `--property=${name}`, unit).trim();
}

/** Starts units and waits until systemd calls them started. @throws with the last lines of their journals. */
export function start(machine: Machine, ...names: readonly string[]): void {
  const { status, stderr } = machine.run('systemctl', 'start', ...names);
  if (status !== 0) throw new Error(`${names.join(' ')}: ${stderr}\n${journal(machine, ...names).slice(-3_000)}`);
}

export function journal(machine: Machine, ...names: readonly string[]): string {
  const of = names.flatMap((name) => ['--unit', name]);
  return machine.output('journalctl', '--no-pager', '--output=cat', ...of);
}

/** Waits for a line of JSON in a unit's journal. @returns what `pick` makes of it. */
export async function journalled<T>(
  machine: Machine,
  unit: string,
  pick: (said: Readonly<Record<string, unknown>>) => T | undefined,
): Promise<T> {
  const found: T[] = [];
  await until(`the journal of ${unit} says it`, () => {
    for (const line of journal(machine, unit).split('\n')) {
      const said = jsonLine(line);
      const picked = said === undefined ? undefined : pick(said);
      if (picked !== undefined) found.push(picked);
    }
    return found.length > 0;
  });
  const [first] = found;
  if (first === undefined) throw new Error('unreachable');
  return first;
}

/** A command of the collector, on its data, as its user. */
export function collectorCli(machine: Machine, ...args: readonly string[]): string {
  const command = ['sigilwatch-collector', '--config', '/etc/sigilwatch/collector.yaml', ...args];
  return machine.output('runuser', '-u', 'sigilwatch-collector', '--', ...command);
}

/**
 * Runs a script under everything that a unit says about its service, in its place. @returns what it prints, one `what: outcome` a line.
 * @param lines More for the `[Service]` section.
 */
export function probe(
  machine: Machine,
  unit: string,
  script: string,
  lines: readonly string[] = [],
): Map<string, string> {
  const name = `probe-${unit}`;
  machine.write('/usr/lib/sigilwatch-probe/probe.cjs', script);
  const text = unitText(unit)
    .replace(/^ExecStart=(?:.*\\\n)*.*$/m, 'ExecStart=/usr/bin/env node --jitless /usr/lib/sigilwatch-probe/probe.cjs')
    .replace(/^Type=.*$/m, 'Type=oneshot')
    .replace(/^(Restart|WatchdogSec|NotifyAccess|EnvironmentFile|Runtime).*$/gm, '')
    .replace(/^\[Install\][\s\S]*$/m, '');
  machine.write(`/etc/systemd/system/${name}`, [text, ...lines, ''].join('\n'));
  machine.output('systemctl', 'daemon-reload');
  start(machine, name);
  const printed = journal(machine, name)
    .split('\n')
    .map((line) => line.split(': '));
  return new Map(printed.flatMap(([what = '', outcome]) => (outcome === undefined ? [] : [[what, outcome]])));
}
