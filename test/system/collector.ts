import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { nodeToken } from '../../collector/api/fleet-contract.ts';
import { sessionStart, setup } from '../../collector/api/sessions-contract.ts';
import { tokenCreate } from '../../collector/api/tokens-contract.ts';
import { permissionsOf } from '../../collector/auth/permissions.ts';
import { createClient } from '../../collector/client/client.ts';
import { networkTransport } from '../../collector/client/network.ts';
import { runningPostmaster, stopPostmaster } from '../../collector/postgres/postmaster.ts';
import { takeCareOf } from './leftovers.ts';
import { layDatabase } from './made-database.ts';
import { type Finished, jsonLine, type Program, type Programs, programs, runCommand, startProgram } from './program.ts';
import { asServices } from './service.ts';

const apiDeadlineMs = 60_000;
const postgresStopDeadlineMs = 20_000;

export interface CollectorOptions {
  /** Its data directory. With the embedded database every user must be able to pass through the folders above. */
  readonly dir: string;
  /** More settings, as environment variables (`DATABASE_URL`, `SIGILWATCH_LOG_LEVEL` ...). */
  readonly env?: Readonly<Record<string, string>>;
  /** Of a database that was used before: its first user is made with the code of its first start. */
  readonly token?: string;
  /** Of another build than this one. */
  readonly build?: Programs;
}

/** A collector process. `pid` and `logs` are those of the last start. */
export interface RunningCollector {
  readonly pid: number;
  /** Stays the same over restarts. */
  readonly url: string;
  /** An API token that may do everything. */
  readonly token: string;
  readonly dir: string;
  /** SIGTERM, and waits; the embedded database ends with it. */
  stop(): Promise<void>;
  /** SIGKILL; the embedded database stays, until `restart` or `stop`. */
  kill9(): Promise<void>;
  /** Stops it, unless it is down, and starts it again on the same port; from now on as `build`, where one is given. */
  restart(build?: Programs): Promise<void>;
  logs(): readonly string[];
  /** `GET url + path` with the token. @throws for any status but 200, and when the answer is of another shape. */
  api<T>(path: string, schema: z.ZodType<T>): Promise<T>;
  /** A join token, as `sigilwatch-collector nodes token` has it made, without a process for it. */
  joinToken(node: string): Promise<string>;
  /** The items of all pages of a list, in its order. */
  list<T>(path: string, item: z.ZodType<T>): Promise<T[]>;
  /** `sigilwatch-collector ...args` on its data. */
  cli(...args: readonly string[]): Promise<Finished>;
}

/** Starts a collector on a free port and waits until it serves. */
export async function startCollector(options: CollectorOptions): Promise<RunningCollector> {
  const database = embeddedDatabase(options.dir);
  const forget = takeCareOf({ remove: database.stop, removeNow: database.stopNow });
  let { build = programs } = options;
  // As a service it is another user's; and another build makes its own.
  const isOurs = build === programs && !asServices && options.env?.DATABASE_URL === undefined;
  if (isOurs) await layDatabase(options.dir);
  let program = startProgramOf({ ...options, build }, '0');
  const url = await servedUrl(program);
  const { port } = new URL(url);
  const token = options.token ?? (await firstToken(url, await shownCode(program)));
  const { api, list } = reader(url, token);
  return {
    get pid() {
      return program.pid;
    },
    url,
    token,
    dir: options.dir,
    stop: async () => {
      await program.stop();
      await database.stop();
      forget();
    },
    kill9: () => program.kill9(),
    restart: async (next = build) => {
      await program.stop();
      build = next;
      // At once, so that it can be killed while it starts.
      program = startProgramOf({ ...options, build }, port);
      await servedUrl(program);
    },
    logs: () => program.logs(),
    api,
    list,
    joinToken: async (node) => (await clientOf(url, token).call(nodeToken, { params: { node } })).token,
    cli: (...args) =>
      runCommand({
        name: `sigilwatch-collector ${args.join(' ')}`,
        command: build.collector,
        args,
        env: environment(options, port),
        // As the documents have it: who then acts as the collector's user, as far as that goes.
        user: { name: 'root', groups: [] },
      }),
  };
}

/** Reads the collector's HTTP API. @throws as `RunningCollector.api`. */
function reader(url: string, token: string) {
  const api = async <T>(path: string, schema: z.ZodType<T>): Promise<T> => {
    const response = await fetch(url + path, {
      // One that was kept may be closed by now, and we not have heard.
      headers: { authorization: `Bearer ${token}`, connection: 'close' },
      signal: AbortSignal.timeout(apiDeadlineMs),
    });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`GET ${path}: ${response.status} ${text.trim()}`);
    return schema.parse(JSON.parse(text));
  };
  const list = async <T>(path: string, item: z.ZodType<T>): Promise<T[]> => {
    const page = z.object({ items: z.array(item), next_cursor: z.string().nullable() });
    const more = path.includes('?') ? '&' : '?';
    const items: T[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const from: string = cursor === '' ? path : `${path}${more}cursor=${cursor}`;
      const read: z.output<typeof page> = await api(from, page);
      items.push(...read.items);
      cursor = read.next_cursor;
    }
    return items;
  };
  return { api, list };
}

function startProgramOf(options: CollectorOptions & { build: Programs }, port: string): Program {
  const env = environment(options, port);
  const unit = { name: 'sigilwatch-collector', dataDir: options.dir } as const;
  return startProgram({ name: 'collector', command: options.build.collector, args: ['run'], env, unit });
}

function servedUrl(program: Program): Promise<string> {
  return program.find('says its address', (line) => {
    const said = jsonLine(line);
    return said?.event === 'collector.started' && typeof said.url === 'string' ? said.url : undefined;
  });
}

function shownCode(program: Program): Promise<string> {
  return program.find('shows the setup code (give `token` for a database that was used before)', (line) => {
    const code = jsonLine(line)?.setupCode;
    return typeof code === 'string' ? code : undefined;
  });
}

function clientOf(url: string, token?: string) {
  return createClient(networkTransport({ url }), async () =>
    token === undefined ? {} : { Authorization: `Bearer ${token}` },
  );
}

/** Makes the first administrator, and a token that may do what they may. */
async function firstToken(url: string, code: string): Promise<string> {
  const client = (token?: string) => clientOf(url, token);
  const admin = { name: 'admin', password: randomUUID() };
  await client().call(setup, { body: { code, ...admin } });
  const { access_token } = await client().call(sessionStart, { body: admin });
  const permissions = [...permissionsOf('admin')];
  const { secret } = await client(access_token).call(tokenCreate, { body: { name: 'first', permissions } });
  return secret;
}

function environment({ dir, env }: CollectorOptions, port: string): Record<string, string> {
  return { SIGILWATCH_DATA_DIR: dir, SIGILWATCH_HTTP_PORT: port, ...env };
}

/** The embedded database of a collector that was killed has nobody who stops it. */
function embeddedDatabase(dir: string) {
  const cluster = join(dir, 'postgres/data');
  return {
    stop: async () => {
      const postmaster = await runningPostmaster(cluster);
      if (postmaster !== undefined) await stopPostmaster(cluster, postmaster, postgresStopDeadlineMs);
    },
    stopNow: () => {
      const pid = Number.parseInt(readFileSync(join(cluster, 'postmaster.pid'), 'utf8'), 10);
      if (pid > 0) process.kill(pid, 'SIGQUIT');
    },
  };
}
