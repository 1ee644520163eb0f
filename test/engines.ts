import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { answers, busybox, type EngineApi, engineApi } from './engine-api.ts';
import { until } from './until.ts';

/** The longest path the kernel takes for a unix socket, less what the engine appends to its folder. */
const maxDirChars = 100 - '/exec/containerd/containerd-debug.sock'.length;
const startDeadlineMs = 20_000;
const stoppedDeadlineMs = 1_000;
/** Longer than the ten seconds that an engine grants its containers. */
const stopDeadlineMs = 15_000;

export interface EngineOptions {
  /** Names the engine's folder, e.g. the node it belongs to. */
  readonly name: string;
  /** A folder with a short path; the engine makes and removes its own below it. */
  readonly dir: string;
  /** With one of its own no rule of this machine's firewall holds between its containers, and no port of the machine is reached. */
  readonly network?: 'own';
}

/** A Docker engine of our own, apart from any other on the machine, with an API to put it to use. */
export interface OwnEngine extends EngineApi {
  readonly socketPath: string;
  /** What `dockerd` logged; gone after `stop`. */
  readonly logPath: string;
  /** Stops the daemon in order: its containers end. */
  down(): Promise<void>;
  /** Starts the daemon again over the same containers. */
  up(): Promise<void>;
  restart(): Promise<void>;
  /** As a power cut for the daemon: SIGKILL. */
  crash(): Promise<void>;
  /** The daemon keeps its sockets open and does nothing, until `thaw`. */
  freeze(): void;
  thaw(): void;
  /** Removes every container, then the daemon, its mounts and its folder. Can be called again. */
  stop(): Promise<void>;
}

export type Availability = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** Whether real engines can be started here, and if not, why not. */
export function engineAvailable(): Availability {
  if (process.platform !== 'linux') return { ok: false, reason: `an engine needs Linux, this is ${process.platform}` };
  if (process.getuid?.() !== 0) return { ok: false, reason: 'starting a Docker engine needs root' };
  if (!runs('dockerd')) return { ok: false, reason: 'dockerd is not installed' };
  if (!runs('containerd')) return { ok: false, reason: 'containerd is not installed' };
  if (!runs('setpriv')) return { ok: false, reason: 'setpriv (util-linux) is not installed' };
  if (!existsSync(busybox)) return { ok: false, reason: `${busybox} is missing; install busybox-static` };
  return { ok: true };
}

/**
 * Starts a `dockerd` with a containerd of its own (0.2 s alone, 0.3 s for four at once) and waits until it answers. It
 * needs no network, touches no firewall rule and shares nothing with other engines. If this process dies without calling
 * `stop`, the kernel tells the daemon to end.
 * @throws when it does not come up, with the end of its log
 */
export async function startEngine(options: EngineOptions): Promise<OwnEngine> {
  const place = enginePlace(options);
  const daemon = daemonAt(place);
  try {
    await daemon.up();
  } catch (cause) {
    const log = readFileSync(place.logPath, 'utf8').split('\n').slice(-8).join('\n');
    await stopEngine(place, daemon);
    throw new Error(`dockerd for ${options.name} did not start:\n${log}`, { cause });
  }
  return {
    ...engineApi(place.socketPath),
    socketPath: place.socketPath,
    logPath: place.logPath,
    up: daemon.up,
    down: daemon.down,
    restart: async () => {
      await daemon.down();
      await daemon.up();
    },
    crash: daemon.crash,
    freeze: () => daemon.signal('SIGSTOP'),
    thaw: () => daemon.signal('SIGCONT'),
    stop: () => stopEngine(place, daemon),
  };
}

interface EnginePlace {
  readonly dir: string;
  readonly socketPath: string;
  readonly logPath: string;
  readonly network: 'own' | undefined;
}

function enginePlace({ name, dir, network }: EngineOptions): EnginePlace {
  const home = path.resolve(dir, name);
  if (home.length > maxDirChars) {
    throw new Error(`${home} is too long for unix sockets: at most ${maxDirChars} characters, use a folder in /tmp`);
  }
  mkdirSync(home, { recursive: true });
  const socketPath = path.join(home, 'docker.sock');
  return { dir: home, socketPath, logPath: path.join(home, 'dockerd.log'), network };
}

interface Daemon {
  up(): Promise<void>;
  down(): Promise<void>;
  crash(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
}

function daemonAt(place: EnginePlace): Daemon {
  let running: ChildProcess | undefined;

  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const child = running;
    if (child === undefined || hasEnded(child)) return;
    const ended = once(child, 'exit');
    // A stopped process takes no signal but SIGKILL until it continues.
    child.kill(signal);
    child.kill('SIGCONT');
    const insist = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs);
    await ended;
    clearTimeout(insist);
    await containerdEnded(place);
  };

  return {
    up: async () => {
      if (running !== undefined && !hasEnded(running)) return;
      const child = spawnDaemon(place);
      running = child;
      await until(
        `dockerd answers at ${place.socketPath}`,
        () => hasEnded(child) || answers(place.socketPath),
        startDeadlineMs,
      );
      if (hasEnded(child)) throw new Error(`dockerd ended with ${child.exitCode ?? child.signalCode}`);
    },
    down: () => end('SIGTERM'),
    crash: () => end('SIGKILL'),
    signal: (signal) => {
      running?.kill(signal);
      if (signal === 'SIGSTOP' && running?.pid !== undefined) awaitStopped(running.pid);
    },
  };
}

/** The signal takes effect some time after `kill` has returned, and until then a thread may still answer. */
function awaitStopped(pid: number): void {
  const tasks = `/proc/${pid}/task`;
  const isStopped = (task: string) => /\) [Tt] /.test(readFileSync(path.join(tasks, task, 'stat'), 'utf8'));
  const giveUpAt = performance.now() + stoppedDeadlineMs;
  while (performance.now() < giveUpAt && !readdirSync(tasks).every(isStopped));
}

/**
 * A killed daemon takes its containerd along, but a moment later; a daemon started within that moment would rely on it
 * and wait for an answer in vain.
 */
async function containerdEnded({ dir }: EnginePlace): Promise<void> {
  const pidFile = path.join(dir, 'exec/containerd/containerd.pid');
  if (!existsSync(pidFile)) return;
  const pid = readFileSync(pidFile, 'utf8').trim();
  await until(`containerd ${pid} of ${dir} ends`, () => !lives(pid), stopDeadlineMs);
  rmSync(pidFile, { force: true });
}

/** A zombie, which nobody has reaped yet, lives no more. The state follows the parenthesised name (proc(5)). */
function lives(pid: string): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function spawnDaemon({ dir, socketPath, logPath, network }: EnginePlace): ChildProcess {
  const log = openSync(logPath, 'a');
  const daemon = [
    network === 'own' ? ['unshare', '--net'] : [],
    ['dockerd', '--host', `unix://${socketPath}`],
    ['--data-root', path.join(dir, 'data'), '--exec-root', path.join(dir, 'exec'), '--pidfile', path.join(dir, 'pid')],
    ['--bridge', 'none', '--iptables=false', '--ip6tables=false', '--shutdown-timeout', '1'],
  ].flat();
  // Own process group: Ctrl-C is for us, and we take the engines down in order. Should we be killed, the kernel
  // sends them SIGTERM.
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...daemon], { detached: true, stdio: ['ignore', log, log] });
  closeSync(log);
  child.once('error', () => {});
  return child;
}

async function stopEngine(place: EnginePlace, daemon: Daemon): Promise<void> {
  daemon.signal('SIGCONT');
  if (hasContainers(place)) {
    // Containers outlive a daemon that crashed; only a daemon finds and ends them.
    await daemon.up();
    const api = engineApi(place.socketPath);
    await Promise.all((await api.ids()).map((id) => api.remove(id)));
  }
  await daemon.down();
  for (const mount of mountsBelow(place.dir)) spawnSync('umount', ['--lazy', mount]);
  rmSync(place.dir, { recursive: true, force: true });
}

function hasContainers(place: EnginePlace): boolean {
  const folder = path.join(place.dir, 'data/containers');
  return existsSync(folder) && readdirSync(folder).length > 0;
}

/** Innermost first. The mount point is the fifth field (proc(5)). */
function mountsBelow(dir: string): string[] {
  const mountPoints = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '');
  return mountPoints.filter((mount) => mount.startsWith(`${dir}/`)).reverse();
}

function runs(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;
}
