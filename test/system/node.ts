import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { AgentStatus } from '../../agent/status.ts';
import type { RunningCollector } from './collector.ts';
import { type Finished, jsonLine, type Program, programs, runCommand, startProgram } from './program.ts';

const statusDeadlineMs = 10_000;

/**
 * Enrols a node as an operator would: a join token from the collector, `sigilwatch-agent enroll` on the node.
 * @param dir the node's data directory
 * @param collectorUrl where the node is to find the collector from now on, when it is not the collector's own address
 */
export async function enrolNode(
  collector: Pick<RunningCollector, 'cli' | 'url'>,
  node: string,
  dir: string,
  collectorUrl = collector.url,
): Promise<{ readonly fingerprint: string }> {
  const { token } = answer(await collector.cli('--json', 'nodes', 'token', node));
  if (typeof token !== 'string') throw new Error(`no join token for ${node}`);
  const enrolled = await runAgent(dir, [
    '--json',
    'enroll',
    '--collector',
    collectorUrl,
    '--token',
    token,
    '--node',
    node,
  ]);
  const { fingerprint } = answer(enrolled);
  if (typeof fingerprint !== 'string')
    throw new Error(`${node} was enrolled without a fingerprint: ${enrolled.stdout}`);
  return { fingerprint };
}

export interface NodeOptions {
  readonly node: string;
  /** Its data directory, where it was enrolled; the collector's address is remembered there. */
  readonly dir: string;
  /** Of its engine. */
  readonly socketPath: string;
  /** `key=value` of the containers that are its own, where several nodes share an engine. */
  readonly label?: string | undefined;
  /** Git repository with the manifest. */
  readonly manifest?: string;
  /** Sigil store folders by name. */
  readonly stores?: Readonly<Record<string, string>>;
  readonly secrets?: readonly string[];
  readonly scanIntervalMs?: number;
  /** More settings, as environment variables. */
  readonly env?: Readonly<Record<string, string>>;
}

/** An agent process. `pid` and `logs` are those of the last start. */
export interface RunningNode {
  readonly node: string;
  /** Its data directory, which also holds its settings file `agent.yaml`. */
  readonly dir: string;
  readonly pid: number;
  /** Of `/healthz` and `/metrics`; stays the same over restarts. */
  readonly url: string;
  /** What the agent says about itself. */
  status(): Promise<AgentStatus>;
  /** SIGTERM, and waits. */
  stop(): Promise<void>;
  kill9(): Promise<void>;
  /** Stops it, unless it is down, and starts it again. */
  restart(): Promise<void>;
  logs(): readonly string[];
  /** `sigilwatch-agent ...args` with its settings. */
  cli(...args: readonly string[]): Promise<Finished>;
}

/** Starts the agent of an enrolled node with a settings file of its own, and waits until it watches. */
export async function startNode(options: NodeOptions): Promise<RunningNode> {
  const { node, dir } = options;
  writeSettings(options, 0);
  let program = startAgent(options);
  const url = await servedUrl(program);
  writeSettings(options, Number(new URL(url).port));
  return {
    node,
    dir,
    get pid() {
      return program.pid;
    },
    url,
    status: () => askStatus(url),
    stop: () => program.stop(),
    kill9: () => program.kill9(),
    restart: async () => {
      await program.stop();
      program = startAgent(options);
      await servedUrl(program);
    },
    logs: () => program.logs(),
    cli: (...args) => runAgent(dir, ['--config', settingsFile(dir), ...args]),
  };
}

function startAgent({ node, dir, env = {} }: NodeOptions): Program {
  const args = ['--config', settingsFile(dir), 'run'];
  return startProgram({ name: `agent of ${node}`, command: programs.agent, args, env });
}

function runAgent(dir: string, args: readonly string[]): Promise<Finished> {
  const env = { SIGILWATCH_DATA_DIR: dir };
  return runCommand({ name: `sigilwatch-agent ${args.join(' ')}`, command: programs.agent, args, env });
}

function servedUrl(program: Program): Promise<string> {
  return program.find('says its address', (line) => {
    const said = jsonLine(line);
    return said?.event === 'agent.serving' && typeof said.url === 'string' ? said.url : undefined;
  });
}

async function askStatus(url: string): Promise<AgentStatus> {
  const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(statusDeadlineMs) });
  const status: unknown = await response.json();
  if (!isStatus(status)) throw new Error(`${url}/healthz told no status`);
  return status;
}

/** Nobody but our own agent answers at its address, and it makes nothing else. */
function isStatus(json: unknown): json is AgentStatus {
  return typeof json === 'object' && json !== null && 'outbox' in json && 'link' in json;
}

const settingsFile = (dir: string): string => join(dir, 'agent.yaml');

function writeSettings(options: NodeOptions, port: number): void {
  const { dir, socketPath, label, manifest, stores = {}, secrets = [], scanIntervalMs } = options;
  const settings = {
    dataDir: dir,
    ...(scanIntervalMs === undefined ? {} : { scanIntervalMs }),
    docker: { socketPath, ...(label === undefined ? {} : { label }) },
    ...(manifest === undefined ? {} : { manifest: { repository: manifest } }),
    sigils: { stores, secrets },
    http: { port },
  };
  mkdirSync(dir, { recursive: true });
  writeFileSync(settingsFile(dir), stringify(settings), { mode: 0o600 });
  chmodSync(settingsFile(dir), 0o600);
}

function answer({ exitCode, stdout, stderr }: Finished): Readonly<Record<string, unknown>> {
  const said = exitCode === 0 ? jsonLine(stdout) : undefined;
  if (said === undefined) throw new Error(`exit code ${exitCode}: ${stderr.trim() || stdout.trim()}`);
  return said;
}
