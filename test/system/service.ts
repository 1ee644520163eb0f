import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Exit, Output } from './output.ts';

/** Says that programs are to run as services of the systemd that is the first process here: under `scripts/test --units`. */
export const servicesVariable = 'SIGILWATCH_TEST_SERVICES';
export const asServices = process.env[servicesVariable] === '1';

/** A unit of `systemd/`, and the folder in which it is to work instead of its own. All else that it says is in force. */
export type ShippedUnit =
  | { readonly name: 'sigilwatch-agent' | 'sigilwatch-collector' | 'sigilwatch-integrity'; readonly dataDir: string }
  | { readonly name: 'sigilwatch-executor'; readonly socketPath: string };

/** A program that was started, as a child process or as a service. */
export interface StartedProgram {
  readonly pid: number;
  readonly ended: Promise<Exit>;
  /** Asks it to end. */
  end(): void;
  kill(): void;
  /** Writes one line to its input. */
  send(line: string): void;
}

interface ServiceOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

const shippedUnits = join(import.meta.dirname, '../../systemd');
const unitFolder = '/run/systemd/system';
const outcomeFolder = '/run/sigilwatch-outcomes';
/** Below it are the folders that systemd gives to a unit's user. */
const stateRoot = '/var/lib';
const runtimeRoot = '/run';
const lookAgainMs = 10;
const startDeadlineMs = 10_000;

/**
 * Starts a program as the service that its unit describes, with every directive of that in force but those that {@link dropIn} names. The
 * first process of the machine has to be systemd.
 * @throws when systemd refuses it, with what it said.
 */
export function startService(options: ServiceOptions, unit: ShippedUnit, output: Output): StartedProgram {
  const service = `${unit.name}-${randomUUID()}.service`;
  const outcome = join(outcomeFolder, service);
  mkdirSync(outcomeFolder, { recursive: true, mode: 0o700 });
  const files = [join(unitFolder, service), join(unitFolder, `${service}.d`)] as const;
  writeFileSync(files[0], movedTo(unit, readFileSync(join(shippedUnits, `${unit.name}.service`), 'utf8')));
  mkdirSync(files[1]);
  writeFileSync(join(files[1], 'test.conf'), dropIn(options, { outcome, output: output.file }));
  const forget = () => {
    for (const path of [...files, outcome]) rmSync(path, { recursive: true, force: true });
  };
  try {
    systemctl('start', '--no-block', service);
  } catch (cause) {
    forget();
    throw new Error(`${options.name}: ${service} cannot be started`, { cause });
  }
  return {
    pid: pidOf(service, outcome),
    ended: endOf(outcome).finally(forget),
    // Neither minds that it has ended meanwhile.
    end: () => void spawnSync('systemctl', ['stop', '--no-block', service]),
    // Its main process; what becomes of the others is for systemd.
    kill: () => void spawnSync('systemctl', ['kill', '--kill-whom=main', '--signal=KILL', service]),
    send: () => {
      throw new Error(`${options.name}: a service has no input`);
    },
  };
}

/**
 * What a test has to say otherwise than the unit: what is run, in which folder, with which settings, where its output goes; that it is
 * not started again behind the back of a test that ends it; and how it ended.
 */
function dropIn(
  { command, args, env = {} }: ServiceOptions,
  { outcome, output }: { readonly outcome: string; readonly output: number },
): string {
  const environment = Object.entries(env).map(([name, value]) => `Environment=${word(`${name}=${value}`)}`);
  const note = `echo "$EXIT_CODE $EXIT_STATUS" >${outcome}.new && mv ${outcome}.new ${outcome}`;
  return [
    '[Unit]',
    'CollectMode=inactive-or-failed',
    '[Service]',
    'ExecStart=',
    `ExecStart=${[command, ...args].map((text) => word(text, '$')).join(' ')}`,
    'Restart=no',
    'EnvironmentFile=',
    ...environment,
    `StandardOutput=append:/proc/${process.pid}/fd/${output}`,
    `StandardError=append:/proc/${process.pid}/fd/${output}`,
    `ExecStopPost=+/bin/sh -c ${word(note, '$')}`,
    '',
  ].join('\n');
}

/** With its own folder elsewhere. Not by a drop-in, which could begin that list anew only together with the mode of the folder. */
function movedTo(unit: ShippedUnit, text: string): string {
  const line =
    'dataDir' in unit
      ? `StateDirectory=${word(below(stateRoot, unit.dataDir))}`
      : `RuntimeDirectory=${word(below(runtimeRoot, dirname(unit.socketPath)))}`;
  const [directive = ''] = line.split('=');
  return text.replace(new RegExp(`^${directive}=.*$`, 'm'), () => line);
}

function below(root: string, path: string): string {
  const inside = relative(root, path);
  if (inside === '' || inside.startsWith('..')) throw new Error(`${path} has to be below ${root}`);
  return inside;
}

/** As one word of a unit's line, where `doubled` is what else has a meaning there (systemd.service(5), systemd.syntax(7)). */
function word(text: string, doubled = ''): string {
  const escaped = text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n').replaceAll('%', '%%');
  return `"${doubled === '' ? escaped : escaped.replaceAll(doubled, () => doubled + doubled)}"`;
}

/** Waits for it without a turn of the event loop: whoever starts a program has its process at once. */
function pidOf(service: string, outcome: string): number {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const giveUpAt = performance.now() + startDeadlineMs;
  while (performance.now() < giveUpAt) {
    const pid = Number(systemctl('show', '--value', '--property=ExecMainPID', service));
    if (pid > 0) return pid;
    // It has ended already, and is not known any more.
    if (existsSync(outcome)) return Number.NaN;
    Atomics.wait(pause, 0, 0, lookAgainMs);
  }
  throw new Error(`${service} has no process after ${startDeadlineMs} ms`);
}

async function endOf(outcome: string): Promise<Exit> {
  while (!existsSync(outcome)) await delay(lookAgainMs);
  const [how, status = ''] = readFileSync(outcome, 'utf8').trim().split(' ');
  const signal = `SIG${status}`;
  if (how === 'exited') return { code: Number(status), signal: null };
  return { code: null, signal: isSignal(signal) ? signal : null };
}

function isSignal(name: string): name is NodeJS.Signals {
  return name in constants.signals;
}

function systemctl(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync('systemctl', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`systemctl ${args.join(' ')}: ${stderr.trim()}`);
  return stdout.trim();
}

/** Lets a file or folder of ours be that of who runs commands on a program's data, where that is somebody else. */
export function handTo(user: 'sigilwatch-agent' | 'sigilwatch-collector', path: string): void {
  if (!asServices) return;
  const { status, stderr } = spawnSync('chown', ['-R', user, path], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${path} cannot be handed to ${user}: ${stderr}`);
}

/** Where the executor of a node with this data directory serves; a service may make a socket only below `/run`. */
export function executorSocket(dir: string): string {
  if (!asServices) return `${dir}.sock`;
  return join(runtimeRoot, `${basename(dirname(dir))}-${basename(dir)}`, 'engine.sock');
}
