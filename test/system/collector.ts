import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { runningPostmaster, stopPostmaster } from '../../collector/postgres/postmaster.ts';
import { takeCareOf } from './leftovers.ts';
import { type Finished, jsonLine, type Program, programs, runCommand, startProgram } from './program.ts';

const apiDeadlineMs = 15_000;
const postgresStopDeadlineMs = 20_000;

export interface CollectorOptions {
  /** Its data directory. With the embedded database every user must be able to pass through the folders above. */
  readonly dir: string;
  /** More settings, as environment variables (`DATABASE_URL`, `SIGILWATCH_LOG_LEVEL` ...). */
  readonly env?: Readonly<Record<string, string>>;
  /** Of a database that was used before: the token is shown only at its first start. */
  readonly operatorToken?: string;
}

/** A collector process. `pid` and `logs` are those of the last start. */
export interface RunningCollector {
  readonly pid: number;
  /** Stays the same over restarts. */
  readonly url: string;
  readonly operatorToken: string;
  readonly dir: string;
  /** SIGTERM, and waits; the embedded database ends with it. */
  stop(): Promise<void>;
  /** SIGKILL; the embedded database stays, until `restart` or `stop`. */
  kill9(): Promise<void>;
  /** Stops it, unless it is down, and starts it again on the same port. */
  restart(): Promise<void>;
  logs(): readonly string[];
  /** `GET url + path` with the operator token. @throws for any status but 200, and when the answer is of another shape. */
  api<T>(path: string, schema: z.ZodType<T>): Promise<T>;
  /** The items of all pages of a list, in its order. */
  list<T>(path: string, item: z.ZodType<T>): Promise<T[]>;
  /** `sigilwatch-collector ...args` on its data. */
  cli(...args: readonly string[]): Promise<Finished>;
}

/** Starts a collector on a free port and waits until it serves. */
export async function startCollector(options: CollectorOptions): Promise<RunningCollector> {
  const database = embeddedDatabase(options.dir);
  const forget = takeCareOf({ remove: database.stop, removeNow: database.stopNow });
  let program = startProgramOf(options, '0');
  const url = await servedUrl(program);
  const { port } = new URL(url);
  const operatorToken = options.operatorToken ?? (await shownToken(program));
  const { api, list } = reader(url, operatorToken);
  return {
    get pid() {
      return program.pid;
    },
    url,
    operatorToken,
    dir: options.dir,
    stop: async () => {
      await program.stop();
      await database.stop();
      forget();
    },
    kill9: () => program.kill9(),
    restart: async () => {
      await program.stop();
      // At once, so that it can be killed while it starts.
      program = startProgramOf(options, port);
      await servedUrl(program);
    },
    logs: () => program.logs(),
    api,
    list,
    cli: (...args) =>
      runCommand({
        name: `sigilwatch-collector ${args.join(' ')}`,
        command: programs.collector,
        args,
        env: environment(options, port),
      }),
  };
}

/** Reads the collector's HTTP API. @throws as `RunningCollector.api`. */
function reader(url: string, operatorToken: string) {
  const api = async <T>(path: string, schema: z.ZodType<T>): Promise<T> => {
    const response = await fetch(url + path, {
      headers: { authorization: `Bearer ${operatorToken}` },
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

function startProgramOf(options: CollectorOptions, port: string): Program {
  const env = environment(options, port);
  return startProgram({ name: 'collector', command: programs.collector, args: ['run'], env });
}

function servedUrl(program: Program): Promise<string> {
  return program.find('says its address', (line) => {
    const said = jsonLine(line);
    return said?.event === 'collector.started' && typeof said.url === 'string' ? said.url : undefined;
  });
}

function shownToken(program: Program): Promise<string> {
  return program.find('shows the operator token (give `operatorToken` for a database that was used before)', (line) => {
    const token = jsonLine(line)?.operatorToken;
    return typeof token === 'string' ? token : undefined;
  });
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
