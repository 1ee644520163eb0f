import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { kindsFor, liveEvent, matches, readEvent } from '../../../collector/events/event.ts';
import type { StoredEvent } from '../../../collector/events/ports.ts';
import { isAtLeast, kindsAtLeast, severityOf, worstOf } from '../../../collector/events/severity.ts';
import { nodesOf } from '../../../collector/events/subject.ts';
import { type Entry, genesis, type SignedEntry, sealEntry } from '../../../common/entry.ts';
import { alertSeverities, collectorKinds, kinds, nodeKinds, type Statement } from '../../../common/kinds.ts';
import { statements } from '../../arbitrary/statements.ts';
import { testAuthor } from '../../authors.ts';

const { privateKey } = testAuthor('node1').keys;
const noOrders = { orders: new Map<string, string>() };

function sealed(statement: Statement, author: string): SignedEntry {
  return sealEntry(statement, { author, head: genesis, now: 0, privateKey });
}

function stored({ entry, bytes, signature }: SignedEntry): StoredEvent {
  const { author, seq, kind } = entry;
  const hash = Buffer.alloc(32);
  const at = new Date(entry.at);
  return { index: 7, author, seq, kind, at, received_at: null, entry_hash: hash, leaf_hash: hash, bytes, signature };
}

const said = (statement: Statement, author = 'collector'): Entry => sealed(statement, author).entry;

describe('how grave an entry is', () => {
  test('is never worse than what its kind is taken for when the body is gone', () => {
    fc.assert(
      fc.property(statements(), (statement) => isAtLeast(worstOf(statement.kind), severityOf(statement))),
      { numRuns: 500 },
    );
  });

  test('every kind can be asked for at some severity, and the worst ones at each', () => {
    assert.deepEqual(kindsAtLeast('info'), kinds);
    for (const severity of alertSeverities) assert.ok(kindsAtLeast(severity).includes('alert.raised'));
    assert.ok(!kindsAtLeast('warning').includes('observed'));
  });

  test('a filter asks the store for every kind that it lets through', () => {
    const filters = fc.record({
      kinds: fc.option(fc.subarray([...kinds], { minLength: 1 }), { nil: undefined }),
      severity: fc.option(fc.constantFrom(...alertSeverities), { nil: undefined }),
    });
    fc.assert(
      fc.property(statements(), filters, (statement, filter) => {
        fc.pre(Buffer.byteLength(JSON.stringify(statement)) < 50_000);
        const author = nodeKinds.has(statement.kind) ? 'node1' : 'collector';
        const event = liveEvent(readEvent(stored(sealed(statement, author))), noOrders);
        const asked = kindsFor(filter);
        return !matches(filter, event) || asked === undefined || asked.includes(statement.kind);
      }),
    );
  });
});

describe('which node an entry is about', () => {
  const [node, order, actor, reason] = ['lyra', 'a'.repeat(64), 'ada', 'why'];
  const about: readonly (readonly [string, Statement, readonly string[]])[] = [
    ['its author, where a node speaks', { kind: 'drift.resolved', body: { id: 'x', commit: null } }, ['node1']],
    [
      'whom an alert names',
      { kind: 'alert.raised', body: { key: 'x/y', severity: 'info', summary: '', node } },
      [node],
    ],
    [
      'whom the key of an alert names',
      { kind: 'alert.resolved', body: { key: `drift.missing/${node}`, reason } },
      [node],
    ],
    [
      'nobody, where a key names a commit',
      { kind: 'alert.resolved', body: { key: 'enforcement.frozen/abc', reason } },
      [],
    ],
    ['nobody, where a key names nothing', { kind: 'alert.acknowledged', body: { key: 'x', actor, reason } }, []],
    ['the node of an order', { kind: 'order.rejected', body: { order, actor, reason } }, ['node3']],
    [
      'all that a frozen commit names',
      { kind: 'enforcement.frozen', body: { commit: 'c', drift: 'IMAGE_DRIFT', nodes: ['a', 'b'], reason } },
      ['a', 'b'],
    ],
    [
      'nobody, where it is about the ledger',
      { kind: 'enforcement.released', body: { commit: 'c', actor, reason } },
      [],
    ],
  ];
  for (const [what, statement, nodes] of about) {
    test(`is ${what}`, () => {
      const author = collectorKinds.has(statement.kind) ? 'collector' : 'node1';
      assert.deepEqual(nodesOf(said(statement, author), { orders: new Map([[order, 'node3']]) }), nodes);
    });
  }
});

describe('what is told', () => {
  test('holds the bytes that were signed, on one line, whatever is in them', () => {
    fc.assert(
      fc.property(statements(), (statement) => {
        fc.pre(Buffer.byteLength(JSON.stringify(statement)) < 50_000);
        const signed = sealed(statement, nodeKinds.has(statement.kind) ? 'node1' : 'collector');
        const { json } = liveEvent(readEvent(stored(signed)), noOrders);
        assert.ok(json.includes(signed.bytes));
        assert.doesNotMatch(json.toString(), /[\r\n]/);
        assert.equal(JSON.parse(json.toString()).type, 'event');
      }),
    );
  });

  test('what is not what was signed does not go out', () => {
    const signed = sealed({ kind: 'drift.resolved', body: { id: 'x', commit: null } }, 'node1');
    for (const text of ['{"x":\n1}', 'not json', ` ${signed.bytes}`, '{}\n\nid: 99\ndata: {}\n\n']) {
      const event = liveEvent(readEvent({ ...stored(signed), bytes: Buffer.from(text) }), noOrders);
      assert.equal(JSON.parse(event.json.toString()).entry, null);
      assert.doesNotMatch(event.json.toString(), /[\r\n]/);
    }
  });

  test('a kind that only a newer collector knows is told of, as a warning', () => {
    const signed = sealed({ kind: 'drift.resolved', body: { id: 'x', commit: null } }, 'node1');
    const event = liveEvent(readEvent({ ...stored(signed), kind: 'new.kind', bytes: Buffer.from('{}') }), noOrders);
    assert.deepEqual([event.severity, event.nodes, event.kind], ['warning', ['node1'], 'new.kind']);
  });
});
