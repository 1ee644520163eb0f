import { Pool } from 'undici';
import { usageOf } from './processes.ts';

/** A server to be asked, and what to ask it. */
export interface Load {
  readonly url: string;
  readonly pid: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly paths: readonly string[];
}

/** What came of it. */
export interface Offered {
  readonly requests: number;
  readonly seconds: number;
  /** Processor time of the server's own process. */
  readonly cpuSeconds: number;
  /** From asking to the last byte of the answer, of every request. */
  readonly tookMs: readonly number[];
}

/**
 * As many clients as `connections` ask in turn for all the paths, each the next thing as soon as it has its answer.
 * @throws for any answer but 200.
 */
export async function offerLoad(
  { url, pid, headers, paths }: Load,
  { connections, seconds }: { readonly connections: number; readonly seconds: number },
): Promise<Offered> {
  const pool = new Pool(url, { connections, pipelining: 1 });
  const tookMs: number[] = [];
  const before = usageOf(pid).cpuSeconds;
  const startedMs = performance.now();
  const untilMs = startedMs + seconds * 1_000;
  const client = async (first: number): Promise<void> => {
    for (let turn = first; performance.now() < untilMs; turn++) {
      const path = paths[turn % paths.length] ?? '/';
      const askedMs = performance.now();
      const { statusCode, body } = await pool.request({ path, method: 'GET', headers });
      const text = await body.text();
      if (statusCode !== 200) throw new Error(`GET ${path}: ${statusCode} ${text.slice(0, 200)}`);
      tookMs.push(performance.now() - askedMs);
    }
  };
  await Promise.all(Array.from({ length: connections }, (_, at) => client(at)));
  const measured = { requests: tookMs.length, seconds: (performance.now() - startedMs) / 1_000, tookMs };
  const cpuSeconds = usageOf(pid).cpuSeconds - before;
  await pool.close();
  return { ...measured, cpuSeconds };
}
