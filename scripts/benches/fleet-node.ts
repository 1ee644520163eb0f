import { hash } from 'node:crypto';
import { systemClock } from '../../agent/clock.ts';
import type { ForkDesk } from '../../agent/link/fork-desk.ts';
import { type Link, startLink } from '../../agent/link/link.ts';
import type { LinkOutbox } from '../../agent/ports.ts';
import { rfc3339 } from '../../common/clock.ts';
import type { ChainHead } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { generateKeyPair, rawPublicKey } from '../../common/keys.ts';
import type { Body, Statement } from '../../common/kinds.ts';
import type { LogFields, Logger } from '../../common/log.ts';
import { type MemoryOutbox, memoryOutbox } from '../../test/fakes/outbox.ts';
import { containersPerNode, firstEntries, minuteMs } from './fleet-words.ts';

export interface FleetNodeOptions {
  readonly node: string;
  /** The minute that its first report is about, Unix milliseconds. */
  readonly firstMinuteMs: number;
  /** Hears how long each frame of entries took, from the outbox until its proof was checked. */
  readonly acknowledged: (ms: number) => void;
  readonly welcomed: () => void;
  /** Hears of every connection that failed or ended. */
  readonly failed: (code: string) => void;
}

export interface LogAddress {
  readonly url: string;
  readonly origin: string;
  readonly vkey: string;
}

/** An agent without a node under it: the real link with its real checks, and an outbox in memory. */
export interface FleetNode {
  readonly node: string;
  /** Raw, in base64. */
  readonly publicKey: string;
  readonly head: ChainHead;
  /** Entries whose proof has not come yet. */
  readonly waiting: number;
  readonly connected: boolean;
  readonly cosignatures: number;
  /** What an agent says when it begins. */
  begin(): void;
  report(): void;
  connect(log: LogAddress): void;
  cut(): Promise<void>;
}

export function createFleetNode(options: FleetNodeOptions): FleetNode {
  const { node, firstMinuteMs } = options;
  const keys = generateKeyPair();
  const minuteOf = (seq: number): number => firstMinuteMs + Math.max(0, seq - firstEntries) * minuteMs;
  const outbox = memoryOutbox(node, keys.privateKey, minuteOf);
  const timed = timedOutbox(outbox, options.acknowledged);
  let link: Link | undefined;
  let connected = false;
  let cosignaturesBefore = 0;
  const logger = listener({
    welcomed: () => {
      connected = true;
      options.welcomed();
    },
    failed: (code) => {
      connected = false;
      options.failed(code);
    },
  });
  return {
    node,
    publicKey: rawPublicKey(keys.publicKey).toString('base64'),
    get head() {
      return outbox.head;
    },
    get waiting() {
      return outbox.depth;
    },
    get connected() {
      return connected;
    },
    get cosignatures() {
      return cosignaturesBefore + (link?.status().witness.cosignatures ?? 0);
    },
    begin: () => {
      for (const statement of firstStatements(node, firstMinuteMs)) outbox.append(statement);
    },
    report: () => {
      outbox.append(reportOf(node, minuteOf(outbox.head.seq)));
    },
    connect: (collector) => {
      link = startLink({
        ...{ node, version: 'bench', keys, collector, outbox: timed, forks: noForks, clock: systemClock },
        ...{ random: Math.random, logger },
      });
    },
    cut: async () => {
      await link?.stop();
      connected = false;
      cosignaturesBefore += link?.status().witness.cosignatures ?? 0;
      link = undefined;
    },
  };
}

/** The log is never to contradict itself here: that ends the bench. */
const noForks: ForkDesk = {
  standing: undefined,
  keep: async ({ body }) => {
    throw new AppError('ledger.forked', body.reason);
  },
  settle: async () => true,
};

/** The link says each change once as a warning and each repetition for debugging. */
function listener({ welcomed, failed }: Pick<FleetNodeOptions, 'welcomed' | 'failed'>): Logger {
  const hear = (_: string, fields: LogFields = {}): void => {
    const refusal = /refused \(([\w.]+)\)/.exec(String(fields.message));
    failed(refusal?.[1] ?? String(fields.code));
  };
  const info = (event: string): void => {
    if (event === 'link.connected') welcomed();
  };
  return { debug: hear, info, warn: hear, error: hear };
}

interface Sent {
  readonly throughSeq: number;
  readonly atMs: number;
}

/** The same outbox, and how long what was read from it took to be proved. */
function timedOutbox(outbox: MemoryOutbox, acknowledged: (ms: number) => void): LinkOutbox {
  let sent: Sent[] = [];
  return {
    get head() {
      return outbox.head;
    },
    get acked() {
      return outbox.acked;
    },
    get depth() {
      return outbox.depth;
    },
    get bytes() {
      return outbox.bytes;
    },
    anchored: true,
    read: async (afterSeq, bound) => {
      const batch = await outbox.read(afterSeq, bound);
      const last = batch.at(-1);
      if (last === undefined) return batch;
      // What a new connection reads again counts from then on.
      sent = sent.filter(({ throughSeq }) => throughSeq <= afterSeq);
      sent.push({ throughSeq: last.entry.seq, atMs: performance.now() });
      return batch;
    },
    trim: async (throughSeq, note) => {
      await outbox.trim(throughSeq, note);
      const nowMs = performance.now();
      for (const { atMs } of sent.filter((one) => one.throughSeq <= throughSeq)) acknowledged(nowMs - atMs);
      sent = sent.filter((one) => one.throughSeq > throughSeq);
    },
    anchor: outbox.anchor,
    checkpoint: outbox.checkpoint,
    onAppended: outbox.onAppended,
  };
}

function firstStatements(node: string, nowMs: number): Statement[] {
  const started = { version: 'bench', runtime: `node ${process.version}`, hostname: node };
  const upserted = Array.from({ length: containersPerNode }, (_, at) => ({
    id: digest(`${node} ${at}`),
    name: `app-${at}`,
    image: `registry.local/app:1.${at}`,
    imageId: `sha256:${digest(`app ${at}`)}`,
    state: 'running' as const,
    health: 'healthy' as const,
    exitCode: 0,
    restartCount: 0,
    createdAt: rfc3339(nowMs - minuteMs),
    startedAt: rfc3339(nowMs - minuteMs),
    finishedAt: null,
  }));
  return [
    { kind: 'agent.started', body: started },
    { kind: 'observed', body: { baseline: true, upserted, removed: [] } },
  ];
}

/** A quiet minute of a node with containers and one sigil store. */
function reportOf(node: string, minuteStartMs: number): Statement {
  const store = { store: 'sigils', status: 'ok', findingsDigest: digest('none'), openFindings: 0 } as const;
  const body: Body<'report'> = {
    minute: rfc3339(minuteStartMs),
    coverage: 'observed',
    scanMs: 12,
    containers: { count: containersPerNode, unobserved: 0, digest: digest(node) },
    drifts: { open: 0, digest: digest('none') },
    stores: [{ ...store, checkedRecords: 1_000, error: null }],
    commit: null,
    disk: { freeBytes: 40_000_000_000, totalBytes: 100_000_000_000 },
  };
  return { kind: 'report', body };
}

function digest(text: string): string {
  return hash('sha256', text, 'hex');
}
