import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  foldOccurrences,
  type OccurrenceChanges,
  type OccurrenceEvent,
} from '../../../../collector/ledger/verify/occurrences.ts';

interface Row {
  node: string;
  id: string;
  value: string;
  openedIndex: number;
  openedAt: string;
  changedIndex: number;
  endedIndex: number | null;
  endedAt: string | null;
}

type Event = OccurrenceEvent<string>;

/** The table, with the statements of `projection-store.ts` in their order. */
class Table {
  readonly rows: Row[] = [];

  apply({ standing, baselines, opened }: OccurrenceChanges<string>): void {
    for (const change of standing) {
      for (const row of this.#standing(change.node)) {
        if (row.id !== change.id) continue;
        if (change.changedIndex !== null && change.value !== null) {
          row.value = change.value;
          row.changedIndex = change.changedIndex;
        }
        row.endedIndex = change.endedIndex;
        row.endedAt = change.endedAt;
      }
    }
    for (const { node, index, at } of baselines) {
      for (const row of this.#standing(node)) {
        row.endedIndex = index;
        row.endedAt = at;
      }
    }
    for (const occurrence of opened) this.#insert({ ...occurrence });
  }

  #standing(node: string): Row[] {
    return this.rows.filter((row) => row.node === node && row.endedIndex === null);
  }

  /** The table's two unique indexes. */
  #insert(row: Row): void {
    assert.ok(this.rows.every((other) => other.openedIndex !== row.openedIndex));
    const second = row.endedIndex === null && this.#standing(row.node).some((other) => other.id === row.id);
    assert.ok(!second, `two occurrences of ${row.node}/${row.id} stand`);
    this.rows.push(row);
  }
}

const node = fc.constantFrom('node1', 'node2');
const id = fc.constantFrom('a', 'b', 'c');
const what = fc.oneof(
  fc.record({ type: fc.constantFrom('open', 'change'), node, id }),
  fc.record({ type: fc.constant('end'), node, id }),
  fc.record({ type: fc.constant('baseline'), node }),
);

/** Events in index order, each with a value and a time of its own. */
const history: fc.Arbitrary<Event[]> = fc.array(what, { maxLength: 40, size: 'max' }).map((steps) =>
  steps.map((step, index): Event => {
    const at = `at ${index}`;
    if ('id' in step && (step.type === 'open' || step.type === 'change')) {
      return { type: step.type, node: step.node, id: step.id, index, at, value: `value ${index}` };
    }
    if ('id' in step) return { type: 'end', node: step.node, id: step.id, index, at };
    return { type: 'baseline', node: step.node, index, at };
  }),
);

function tableOf(events: readonly Event[], cuts: readonly number[]): Row[] {
  const table = new Table();
  const rest = [...events];
  for (const cut of cuts) table.apply(foldOccurrences(rest.splice(0, cut)));
  table.apply(foldOccurrences(rest));
  return table.rows;
}

describe('occurrences', () => {
  test('a history leaves the same rows however it is cut into runs', () => {
    fc.assert(
      fc.property(history, fc.array(fc.nat(8), { maxLength: 12 }), (events, cuts) => {
        assert.deepEqual(
          tableOf(events, cuts),
          tableOf(
            events,
            events.map(() => 1),
          ),
        );
      }),
      { numRuns: 3_000 },
    );
  });

  test('what one entry does is what the words say', () => {
    const at = (index: number) => ({ node: 'node1', index, at: `at ${index}` });
    const events: Event[] = [
      { type: 'open', ...at(0), id: 'a', value: 'first' },
      { type: 'change', ...at(1), id: 'a', value: 'second' },
      { type: 'open', ...at(2), id: 'a', value: 'again' },
      { type: 'end', ...at(3), id: 'b' },
      { type: 'baseline', ...at(4) },
      { type: 'change', ...at(5), id: 'a', value: 'too late' },
    ];
    const row = { node: 'node1', id: 'a' };
    assert.deepEqual(tableOf(events, []), [
      { ...row, value: 'second', openedIndex: 0, openedAt: 'at 0', changedIndex: 1, endedIndex: 2, endedAt: 'at 2' },
      { ...row, value: 'again', openedIndex: 2, openedAt: 'at 2', changedIndex: 2, endedIndex: 4, endedAt: 'at 4' },
    ]);
  });

  test('a baseline ends only what its own node had', () => {
    const rows = tableOf(
      [
        { type: 'open', node: 'node1', index: 0, at: 'at 0', id: 'a', value: 'one' },
        { type: 'open', node: 'node2', index: 1, at: 'at 1', id: 'a', value: 'two' },
        { type: 'baseline', node: 'node1', index: 2, at: 'at 2' },
      ],
      [2],
    );
    assert.deepEqual(
      rows.map(({ node, endedIndex }) => [node, endedIndex]),
      [
        ['node1', 2],
        ['node2', null],
      ],
    );
  });
});
