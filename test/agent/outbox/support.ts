import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Outbox, type OutboxOptions, openOutbox } from '../../../agent/outbox/outbox.ts';
import { rfc3339 } from '../../../common/clock.ts';
import { assertFollows, type ChainHead, headAfter, parseEntry, type SignedEntry } from '../../../common/entry.ts';
import { AppError, type ErrorCode } from '../../../common/errors.ts';
import { keyPairFromSeed, verifyBytes } from '../../../common/keys.ts';
import type { Statement } from '../../../common/kinds.ts';

export const keys = keyPairFromSeed(Buffer.alloc(32, 7));
export const author = 'node1';

export const realClock = { now: () => Date.now(), monotonicMs: () => performance.now() };

/** A clock that moves one millisecond with every look. */
export function steppingClock(from = Date.UTC(2026, 0, 2, 3, 4, 5)) {
  let now = from;
  return { now: () => now++, monotonicMs: () => now++ };
}

export function tempDir(t?: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'sigilwatch-outbox-'));
  // What the database still writes in the background may come in between.
  t?.after(() => rmSync(dir, { recursive: true, force: true, maxRetries: 10 }));
  return dir;
}

export const plenty = { maxEntries: 100_000, maxBytes: 1024 ** 3 };

export function options(parent: string, more: Partial<OutboxOptions> = {}): OutboxOptions {
  return {
    dir: join(parent, 'outbox'),
    author,
    privateKey: keys.privateKey,
    clock: realClock,
    maxBytes: 64 * 1024 * 1024,
    reservedShare: 0.2,
    reserveFileBytes: 64 * 1024,
    ...more,
  };
}

/** An outbox that closes with the test. */
export async function opened(t: TestContext, parent: string, more: Partial<OutboxOptions> = {}): Promise<Outbox> {
  const outbox = await openOutbox(options(parent, more));
  t.after(() => outbox.close());
  return outbox;
}

/** As after enrolment: anchored at the start of an empty chain. */
export async function enrolled(t: TestContext, parent: string, more: Partial<OutboxOptions> = {}): Promise<Outbox> {
  const outbox = await opened(t, parent, more);
  await outbox.anchor({ seq: 0, hash: '0'.repeat(64) });
  return outbox;
}

export function report(n: number): Statement {
  const digest = '0'.repeat(64);
  return {
    kind: 'report',
    body: {
      minute: rfc3339(n * 60_000),
      coverage: 'observed',
      scanMs: n,
      containers: { count: 1, unobserved: 0, digest },
      drifts: { open: 0, digest },
      stores: [],
      commit: null,
    },
  };
}

/** A statement that is not periodic. */
export function cleared(id: string | number, store = 'main'): Statement {
  return { kind: 'sigil.cleared', body: { store, id: String(id) } };
}

export function idsOf(entries: readonly SignedEntry[]): string[] {
  return entries.map(({ entry }) => (entry.kind === 'sigil.cleared' ? entry.body.id : entry.kind));
}

/** Reads everything queued and checks it the way the collector will. */
export async function auditedEntries(outbox: Outbox): Promise<readonly SignedEntry[]> {
  const entries = await outbox.read(0, plenty);
  let head: ChainHead = outbox.acked;
  for (const { bytes, signature, entry } of entries) {
    assertFollows(head, entry);
    assert.deepEqual(parseEntry(bytes), entry);
    assert.equal(entry.author, author);
    assert.ok(verifyBytes(keys.publicKey, bytes, signature), `signature of entry ${entry.seq}`);
    head = headAfter({ bytes, entry });
  }
  assert.deepEqual(head, outbox.head);
  assert.equal(outbox.depth, entries.length);
  return entries;
}

export function failsWith(code: ErrorCode, retryable?: boolean) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, code, error.message);
    if (retryable !== undefined) assert.equal(error.retryable, retryable);
    return true;
  };
}

export async function quarantines(parent: string): Promise<string[]> {
  return (await readdir(parent)).filter((name) => name.startsWith('outbox.corrupt-')).sort();
}

export function removeAll(path: string): Promise<void> {
  return rm(path, { recursive: true, force: true });
}
