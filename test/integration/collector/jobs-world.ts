import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import type { Recorder } from '../../../collector/enforcement/ports.ts';
import type { EnforcementAction } from '../../../collector/jobs/actions.ts';
import { createBreakers } from '../../../collector/jobs/breakers.ts';
import type { JobMetrics } from '../../../collector/jobs/metrics.ts';
import type { JobQueue, JobStore } from '../../../collector/jobs/ports.ts';
import { jobSettings } from '../../../collector/jobs/settings.ts';
import { createWorker, type Worker } from '../../../collector/jobs/worker.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresBreakerStore } from '../../../collector/postgres/breaker-store.ts';
import { postgresJobQueue } from '../../../collector/postgres/job-queue.ts';
import { postgresJobStore } from '../../../collector/postgres/job-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { createWorking, type Working } from '../../../collector/wiring/working.ts';
import { quietLogger } from '../../quiet-logger.ts';

const uncounted: JobMetrics = { ran: () => {}, ended: () => {} };

export const webhookSecret = 'a secret of the tests, long enough';

/** Lets work be looked at, and broken off, wherever it touches something durable. */
export type Around = <P extends object>(ports: P) => P;

export interface WorkWorld {
  readonly working: Working;
  readonly worker: Worker;
  readonly queue: JobQueue;
  readonly store: JobStore;
}

export interface WorkOptions {
  readonly settings?: unknown;
  readonly around?: Around;
  readonly attempts?: number;
  readonly concurrency?: number;
  /** Of breakers; so high that it never opens by default. */
  readonly threshold?: number;
  readonly breakerMs?: number;
  readonly proof?: Buffer | undefined;
  /** Whether witnesses have vouched for it, now; yes by default. */
  readonly witnessed?: () => boolean;
  /** Unix milliseconds; the machine's clock by default. */
  readonly now?: () => number;
}

/** A worker as a collector runs it, without its timers. Pauses between tries are next to nothing. */
export async function workWorld(db: Db, ledger: Ledger, options: WorkOptions = {}): Promise<WorkWorld> {
  const { around = (ports) => ports, attempts = 3, concurrency = 3, threshold = 1_000, breakerMs = 60_000 } = options;
  const { witnessed = () => true, now = Date.now } = options;
  const given = { webhook: { secret: webhookSecret, allowedAddresses: ['127.0.0.0/8'] }, arweave: {} };
  const settings = jobSettings.parse({ ...given, ...Object(options.settings) });
  const proof = 'proof' in options ? options.proof : Buffer.from('c2sp.org/tlog-proof@v1\n');
  const working = createWorking(settings, {
    ...{ db, ledger, clock: { now } },
    proofOf: async () => (proof === undefined ? undefined : { file: proof, witnessed: witnessed() }),
    isRegistered: async () => true,
  });
  const queue = around(await postgresJobQueue(db));
  const store = around(postgresJobStore(db));
  const recorder: Recorder = around({ record: (statement) => ledger.record(statement) });
  const worker = createWorker({
    ...{
      queue,
      store,
      ledger: recorder,
      logger: quietLogger,
      metrics: uncounted,
      actions: working.actions,
      concurrency,
    },
    breakers: createBreakers({
      store: postgresBreakerStore(db),
      ...{ threshold, minMs: breakerMs, maxMs: breakerMs },
    }),
    ...{ maxAttempts: attempts, backoff: { minMs: 1, maxMs: 1 }, random: Math.random },
  });
  return { working, worker, queue, store };
}

/** The lease of the queue is in whole seconds; tests have no two minutes. */
export async function shortLeases(owner: Db): Promise<void> {
  await owner.query('update pgboss.queue set expire_seconds = 1');
}

/** Works until nothing is left without an outcome, and nothing in line: a kill after a result leaves its job there until the lease ends. */
export async function workAll({ queue, worker }: WorkWorld, db: Db): Promise<void> {
  const signal = new AbortController().signal;
  while ((await openCount(db)) > 0) {
    await queue.reclaim();
    await worker.step(signal);
    await worker.idle();
  }
}

async function openCount(db: Db): Promise<number> {
  const { rows } = await db.query<{ open: number }>(
    `select (select count(*) from pgboss.job) + count(*) as open from enforcements e
      where not exists (select from enforcement_events r where r.enforcement = e.id and r.kind = 'enforcement.result')`,
  );
  return rows[0]?.open ?? 0;
}

/** A wish about an artifact that nobody cares about. */
export function wishFor(target: string, action: EnforcementAction = 'webhook_alert') {
  return { artifact: 'a'.repeat(64), action, target, reason: 'a test', actor: 'user:ada' };
}

export interface Heard {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Something that listens on a port of this machine. */
export async function listening(answer: RequestListener) {
  const heard: Heard[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      heard.push({ path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString() });
      answer(request, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  const close = () =>
    new Promise<void>((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return { url: `http://127.0.0.1:${port}`, heard, close };
}
