import { randomBytes } from 'node:crypto';
import { rfc3339 } from '../../common/clock.ts';
import { type ChainHead, type Entry, genesis, headAfter, type SignedEntry } from '../../common/entry.ts';
import { generateKeyPair, type KeyPair, signBytes } from '../../common/keys.ts';
import type { ObservedContainer } from '../../common/observed.ts';

/** What a node says most: one of its containers has changed. Some 600 bytes in canonical form. */
const containersPerNode = 50;
const firstMs = Date.UTC(2026, 0, 1);
/** Signatures that nobody is going to check are cut from this, each from another place. */
const noise = randomBytes(1024 * 1024);

/** One node that has something to say, as fast as asked. */
export interface BenchAuthor {
  readonly node: string;
  readonly keys: KeyPair;
  /** Entries as they are after their signatures were checked; those are noise, which nothing behind that check looks at. */
  take(count: number): SignedEntry[];
  /** Entries with real signatures. */
  sign(count: number): SignedEntry[];
}

export function benchAuthor(node: string, keys = generateKeyPair()): BenchAuthor {
  const containers = Array.from({ length: containersPerNode }, (_, at) => containerOf(node, at));
  let head: ChainHead = genesis;
  const next = (signatureOf: (bytes: Buffer) => Buffer): SignedEntry => {
    const seq = head.seq + 1;
    const at = rfc3339(firstMs + seq * 100);
    const before = containers[seq % containersPerNode] ?? containerOf(node, 0);
    const running = seq % (2 * containersPerNode) < containersPerNode;
    const container = { ...before, ...(running ? running_(at) : exited(at)), restartCount: seq };
    const entry = observedEntry(node, head, { at, container });
    // The keys stand in the order of RFC 8785 and the values are plain: this is the canonical form.
    const bytes = Buffer.from(JSON.stringify(entry));
    head = headAfter({ entry, bytes });
    return { entry, bytes, signature: signatureOf(bytes) };
  };
  const noiseFor = (): Buffer => {
    const start = (head.seq * 61) % (noise.length - 64);
    return noise.subarray(start, start + 64);
  };
  return {
    node,
    keys,
    take: (count) => Array.from({ length: count }, () => next(noiseFor)),
    sign: (count) => Array.from({ length: count }, () => next((bytes) => signBytes(keys.privateKey, bytes))),
  };
}

function observedEntry(
  author: string,
  head: ChainHead,
  { at, container }: { at: string; container: ObservedContainer },
): Entry {
  const body = { baseline: false, removed: [], upserted: [sorted(container)] };
  return { at, author, body, kind: 'observed', prev: head.hash, seq: head.seq + 1, v: 1 };
}

function sorted(container: ObservedContainer): ObservedContainer {
  const { createdAt, exitCode, finishedAt, health, id, image, imageId, name, restartCount, startedAt, state } =
    container;
  return { createdAt, exitCode, finishedAt, health, id, image, imageId, name, restartCount, startedAt, state };
}

function containerOf(node: string, at: number): ObservedContainer {
  return {
    id: randomBytes(32).toString('hex'),
    name: `app-${at}`,
    image: `registry.local/${node}/app:1.${at}`,
    imageId: `sha256:${randomBytes(32).toString('hex')}`,
    state: 'running',
    health: 'none',
    exitCode: 0,
    restartCount: 0,
    createdAt: '2025-12-31T00:00:00.000000000Z',
    startedAt: null,
    finishedAt: null,
  };
}

function running_(at: string) {
  return { state: 'running', startedAt: at, exitCode: 0 } as const;
}

function exited(at: string) {
  return { state: 'exited', finishedAt: at, exitCode: 137 } as const;
}
