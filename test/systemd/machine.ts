import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { takeCareOf } from '../system/leftovers.ts';
import { projectRoot } from '../system/program.ts';
import { until } from '../until.ts';

/**
 * A machine whose first process is systemd, wherever this one's is something else: namespaces of their own, this machine's disk
 * below a layer in memory, no network but its own loopback, and the engine's socket of this machine, if it has one.
 */
export interface Machine {
  /** Of its first process, as this machine knows it. */
  readonly pid: number;
  /** Runs a command in it, as root. */
  run(command: string, ...args: readonly string[]): Ran;
  /** As `run`. @returns its output. @throws when it fails, with what it said. */
  output(command: string, ...args: readonly string[]): string;
  /** Writes a file in it, and the folders above. */
  write(path: string, text: string, mode?: number): void;
  /** Runs a command in it with our own input and output, to its end. @returns its exit code. */
  attend(...command: readonly string[]): Promise<number>;
  stop(): Promise<void>;
}

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const bootDeadlineMs = 30_000;
const commandDeadlineMs = 60_000;
const notUp = 'the machine is not up';
const systemdProgram = '/lib/systemd/systemd';
const tools = ['setpriv', 'unshare', 'nsenter', 'pivot_root', 'ip', 'systemctl', 'systemd-sysusers'];

/** Why no such machine can be had here; undefined when it can be tried. */
export function whyNoMachine(): string | undefined {
  if (process.platform !== 'linux' || process.geteuid?.() !== 0) return 'a machine with systemd takes root on Linux';
  const missing = tools.filter((tool) => spawnSync('which', [tool]).status !== 0);
  if (!existsSync(systemdProgram)) missing.push('systemd');
  if (missing.length > 0) return `a machine with systemd takes ${missing.join(', ')}`;
  return cgroupRoot() === undefined ? 'a machine with systemd takes control groups of version 2' : undefined;
}

export interface MachineOptions {
  /** Folders of this machine that it has too, for both to write to, by where it has them. */
  readonly shared?: Readonly<Record<string, string>>;
  /** What it has of ours: the programs as they are built and a Node.js, which is the default; or neither, for packages to bring. */
  readonly programs?: 'built' | 'none';
}

/** Boots one. @throws when it does not come up, with what it said last. */
export async function bootMachine(options: MachineOptions = {}): Promise<Machine> {
  const folder = mkdtempSync(join(tmpdir(), 'sgw-machine-'));
  const cgroup = join(cgroupRoot() ?? '', `sigilwatch-test-${process.pid}-${folder.slice(-6)}`);
  mkdirSync(cgroup);
  const unshared = startBoot(folder, cgroup, options);
  const said: string[] = [];
  for (const stream of [unshared.stdout, unshared.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => said.push(text));
  }
  const ended = once(unshared, 'exit');
  const removeNow = () => {
    unshared.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  const stop = async () => {
    unshared.kill('SIGKILL');
    await ended;
    await until('the control groups of the machine are empty', () => removeCgroups(cgroup));
    rmSync(folder, { recursive: true, force: true });
    forget();
  };
  const forget = takeCareOf({ remove: stop, removeNow });
  const machine = machineIn(() => firstChild(unshared.pid), stop);
  try {
    await until('systemd is up', () => isUp(machine, unshared), bootDeadlineMs);
  } catch (cause) {
    await stop();
    throw new Error(`no machine with systemd; it said: ${said.join('').slice(-2_000)}`, { cause });
  }
  return machine;
}

/** In a control group of its own, which is the root of all that it sees; all of it ends with this child. */
function startBoot(folder: string, cgroup: string, { shared = {}, programs = 'built' }: MachineOptions): ChildProcess {
  const namespaces = ['--cgroup', '--mount', '--pid', '--net', '--uts', '--ipc', '--propagation', 'private'];
  const folders = Object.entries(shared).flatMap(([place, source]) => [source, place]);
  const ours = programs === 'built' ? [join(projectRoot, 'dist'), process.execPath] : ['', ''];
  const boot = [join(projectRoot, 'test/systemd/boot.sh'), folder, ...ours, ...folders];
  const script = 'echo $$ >"$0/cgroup.procs" && exec setpriv --pdeathsig KILL unshare --fork --kill-child "$@"';
  return spawn('sh', ['-c', script, cgroup, ...namespaces, ...boot], { stdio: ['ignore', 'pipe', 'pipe'] });
}

function machineIn(firstProcess: () => number | undefined, stop: () => Promise<void>): Machine {
  const inside = (command: readonly string[]): readonly string[] | undefined => {
    const pid = firstProcess();
    if (pid === undefined) return undefined;
    const args = ['--target', String(pid), ...['--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup']];
    return [...args, 'env', '--chdir=/', `PATH=/usr/local/bin:${process.env.PATH}`, ...command];
  };
  const enter = (input: string | undefined, command: readonly string[]): Ran => {
    const args = inside(command);
    if (args === undefined) return { status: null, stdout: '', stderr: notUp };
    const options = { encoding: 'utf8', timeout: commandDeadlineMs, ...(input !== undefined && { input }) } as const;
    return spawnSync('nsenter', args, options);
  };
  const run = (command: string, ...args: readonly string[]) => enter(undefined, [command, ...args]);
  const required = ({ status, stdout, stderr }: Ran, what: string) => {
    if (status !== 0) throw new Error(`${what}: ${status} ${stderr.trim()} ${stdout.trim()}`);
    return stdout;
  };
  return {
    get pid() {
      const pid = firstProcess();
      if (pid === undefined) throw new Error(notUp);
      return pid;
    },
    run,
    output: (command, ...args) => required(run(command, ...args), [command, ...args].join(' ')),
    write: (path, text, mode = 0o644) => {
      const script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"';
      required(enter(text, ['sh', '-c', script, 'sh', path, mode.toString(8)]), `write ${path}`);
    },
    attend: async (...command) => {
      const args = inside(command);
      if (args === undefined) throw new Error(notUp);
      const [code] = await once(spawn('nsenter', args, { stdio: 'inherit' }), 'exit');
      return typeof code === 'number' ? code : 1;
    },
    stop,
  };
}

function isUp(machine: Machine, unshared: ChildProcess): boolean {
  if (unshared.exitCode !== null || unshared.signalCode !== null) throw new Error(`it ended: ${unshared.exitCode}`);
  return /^(running|degraded)$/.test(machine.run('systemctl', 'is-system-running').stdout.trim());
}

function firstChild(pid: number | undefined): number | undefined {
  if (pid === undefined || !existsSync(`/proc/${pid}`)) return undefined;
  const child = Number.parseInt(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'), 10);
  return child > 0 ? child : undefined;
}

/** Where control groups of version 2 are mounted, alone or beside those of version 1. */
function cgroupRoot(): string | undefined {
  const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
  return mounts.map((line) => line.split(' ')).find(([, , type]) => type === 'cgroup2')?.[1];
}

/** @returns whether they are gone. */
function removeCgroups(cgroup: string): boolean {
  try {
    for (const entry of readdirSync(cgroup, { withFileTypes: true })) {
      if (entry.isDirectory() && !removeCgroups(join(cgroup, entry.name))) return false;
    }
    rmdirSync(cgroup);
    return true;
  } catch {
    return !existsSync(cgroup);
  }
}
