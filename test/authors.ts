import { hash } from 'node:crypto';
import { rfc3339 } from '../common/clock.ts';
import { type ChainHead, genesis, headAfter, type SignedEntry, sealEntry } from '../common/entry.ts';
import { type KeyPair, keyPairFromSeed } from '../common/keys.ts';
import type { Statement } from '../common/kinds.ts';

/** When the first entry of every test author is made: 2026-01-01, Unix milliseconds. */
export const firstEntryMs = Date.UTC(2026, 0, 1);

/** An author whose key and entries are the same in every run. */
export interface TestAuthor {
  readonly name: string;
  readonly keys: KeyPair;
  readonly head: ChainHead;
  /** Seals the statement as the author's next entry, a second after the one before. */
  next(statement: Statement): SignedEntry;
  /** As many small entries, all of them different. */
  more(count: number): SignedEntry[];
  /** A second author with the same name and key who goes on from here on his own. */
  twin(): TestAuthor;
}

export function testAuthor(name: string): TestAuthor {
  return authorAt(name, keysOf(name), genesis);
}

/** Made once: simulations ask for the same few again and again. */
const made = new Map<string, KeyPair>();

function keysOf(name: string): KeyPair {
  const keys = made.get(name) ?? keyPairFromSeed(hash('sha256', `key of ${name}`, 'buffer'));
  made.set(name, keys);
  return keys;
}

function authorAt(name: string, keys: KeyPair, start: ChainHead): TestAuthor {
  let head = start;
  const author: TestAuthor = {
    name,
    keys,
    get head() {
      return head;
    },
    next: (statement) => {
      const now = firstEntryMs + head.seq * 1_000;
      const signed = sealEntry(statement, { author: name, head, now, privateKey: keys.privateKey });
      head = headAfter(signed);
      return signed;
    },
    more: (count) => Array.from({ length: count }, () => author.next(cleared(`${name}/${head.seq + 1}`))),
    twin: () => authorAt(name, keys, head),
  };
  return author;
}

/** The smallest statement there is. */
export function cleared(id: string): Statement {
  return { kind: 'sigil.cleared', body: { store: 'demo', id } };
}

/** What a node says of a minute in which nothing happened: consecutive ones may stand in one row (`entry-runs.ts`). */
export function quietMinute(n: number): Statement {
  const digest = '0'.repeat(64);
  return {
    kind: 'report',
    body: {
      minute: rfc3339(firstEntryMs + n * 60_000),
      coverage: 'observed',
      scanMs: 1,
      containers: { count: 0, unobserved: 0, digest },
      drifts: { open: 0, digest },
      stores: [],
      commit: null,
    },
  };
}

/** A statement of some 45 kB. */
export const largeStatement: Statement = {
  kind: 'coverage.gap',
  body: {
    from: '2026-01-01T00:00:00.000Z',
    to: '2026-01-01T00:01:00.000Z',
    reason: 'agent-down',
    rebuilt: Array.from({ length: 60 }, () => ({
      containerId: 'c'.repeat(64),
      name: 'n'.repeat(500),
      startedAt: 's'.repeat(100),
      finishedAt: null,
    })),
  },
};
