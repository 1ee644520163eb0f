import { createPublicKey } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { z } from 'zod';
import type { AgentStatus } from '../../agent/health/status.ts';
import type { RunningCollector } from './collector.ts';
import { type Finished, jsonLine, type Program, type Programs, programs, runCommand, startProgram } from './program.ts';
import { asServices, executorSocket } from './service.ts';

const statusDeadlineMs = 60_000;

/**
 * Enrols a node as an operator would: a join token from the collector, `sigilwatch-agent enroll` on the node.
 * @param dir the node's data directory
 * @param collectorUrl where the node is to find the collector from now on, when it is not the collector's own address
 */
export async function enrolNode(
  collector: Pick<RunningCollector, 'joinToken' | 'url'>,
  node: string,
  dir: string,
  collectorUrl = collector.url,
  build = programs,
): Promise<{ readonly fingerprint: string }> {
  const token = await collector.joinToken(node);
  const enrolled = await runAgent(build, dir, [
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
  /** Where it has an executor: that takes orders which the node decides by itself, too. */
  readonly localOrders?: boolean;
  /** More settings, as environment variables. */
  readonly env?: Readonly<Record<string, string>>;
  /** Of another build than this one. */
  readonly build?: Programs;
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
  /** Stops it, unless it is down, and starts it again; from now on as `build`, where one is given. */
  restart(build?: Programs): Promise<void>;
  logs(): readonly string[];
  /** `sigilwatch-agent ...args` with its settings. */
  cli(...args: readonly string[]): Promise<Finished>;
}

/** Starts the agent of an enrolled node with a settings file of its own, and waits until it watches. */
export async function startNode(given: NodeOptions): Promise<RunningNode> {
  const { node, dir } = given;
  // As the units have it: the agent gets nothing of the engine but what the executor serves.
  const options = asServices ? { ...given, socketPath: await served(given) } : given;
  writeSettings(options, 0);
  let { build = programs } = options;
  let program = startAgent(options, build);
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
    restart: async (next = build) => {
      await program.stop();
      build = next;
      program = startAgent(options, build);
      await servedUrl(program);
    },
    logs: () => program.logs(),
    cli: (...args) => runAgent(build, dir, ['--config', settingsFile(dir), ...args], 'sigilwatch-agent'),
  };
}

function startAgent({ node, dir, socketPath, env = {} }: NodeOptions, { agent }: Programs): Program {
  const args = ['--config', settingsFile(dir), 'run'];
  // The unit names another socket, and would be believed before the file.
  const said = asServices ? { SIGILWATCH_DOCKER_SOCKET_PATH: socketPath, ...env } : env;
  const unit = { name: 'sigilwatch-agent', dataDir: dir } as const;
  return startProgram({ name: `agent of ${node}`, command: agent, args, env: said, unit });
}

/** The socket of an executor before the engine, which the node may have already. */
async function served({ socketPath: engine, ...options }: NodeOptions): Promise<string> {
  const socket = executorSocket(options.dir);
  if (!existsSync(socket)) await startExecutor({ ...options, engine });
  return socket;
}

export interface ExecutorOptions {
  readonly node: string;
  /** Data directory of its agent, which is enrolled. */
  readonly dir: string;
  /** Socket of the engine. */
  readonly engine: string;
  /** It takes orders that the node decides by itself, too. */
  readonly localOrders?: boolean;
  /** What surrounds the agent surrounds the executor, such as the time of the node's clock. */
  readonly env?: Readonly<Record<string, string>>;
  readonly build?: Programs;
}

/** Starts the executor of a node, and waits until it serves at {@link executorSocket}. */
export async function startExecutor(options: ExecutorOptions): Promise<Program> {
  const { node, dir, engine, localOrders = false, env = {}, build = programs } = options;
  const { vkey } = pinned.parse(JSON.parse(readFileSync(join(dir, 'collector.json'), 'utf8')));
  const socketPath = executorSocket(dir);
  const args = ['--socket', socketPath, '--engine', engine, '--node', node, '--collector-key', vkey];
  if (localOrders) args.push('--allow-local', '--node-key', publicKeyOf(dir));
  const unit = { name: 'sigilwatch-executor', socketPath } as const;
  const program = startProgram({ name: `executor of ${node}`, command: build.executor, args, env, unit });
  await program.find('serves', (line) => (line.includes('"executor.serving"') ? true : undefined));
  return program;
}

const pinned = z.object({ vkey: z.string() });

/** Base64 of its 32 bytes. */
function publicKeyOf(dir: string): string {
  const { x = '' } = createPublicKey(readFileSync(join(dir, 'identity.pem'))).export({ format: 'jwk' });
  return Buffer.from(x, 'base64url').toString('base64');
}

/** @param user Whose it is to run it where programs are services; whoever we are without. */
function runAgent(build: Programs, dir: string, args: readonly string[], user?: 'sigilwatch-agent'): Promise<Finished> {
  const env = { SIGILWATCH_DATA_DIR: dir };
  return runCommand({
    name: `sigilwatch-agent ${args.join(' ')}`,
    ...{ command: build.agent, args, env },
    ...(user && { user: { name: user, groups: ['sigilwatch-engine'] } }),
  });
}

function servedUrl(program: Program): Promise<string> {
  return program.find('says its address', (line) => {
    const said = jsonLine(line);
    return said?.event === 'agent.serving' && typeof said.url === 'string' ? said.url : undefined;
  });
}

async function askStatus(url: string): Promise<AgentStatus> {
  // A connection that was kept may be closed by now, and we not have heard.
  const headers = { connection: 'close' };
  const response = await fetch(`${url}/healthz`, { headers, signal: AbortSignal.timeout(statusDeadlineMs) });
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
