import assert from 'node:assert/strict';
import type { Tx } from '../../../collector/postgres/pool.ts';
import { type Attack, brokenAt, expect, type Scene } from './tamper-structure.ts';

/** What the owner of the database can do to whole runs, and to the form that they have. */

interface Run {
  readonly index: number;
  readonly width: number;
  readonly author: string;
}

async function runsOf(tx: Tx, leastWidth = 1): Promise<readonly Run[]> {
  const { rows } = await tx.query<Run>('select index, width, author from entry_runs where width >= $1 order by index', [
    leastWidth,
  ]);
  return rows;
}

/** One that holds several entries. */
async function someRun({ tx, random }: Scene): Promise<Run> {
  return random.pick(await runsOf(tx, 2));
}

/** Lays these entries of a run (1 is the first) into it anew, in this order, with their bodies, so that all of it agrees. */
async function relay(tx: Tx, index: number, order: readonly number[]): Promise<void> {
  const pieces = (column: string) => order.map((n) => `substr(${column}, ${32 * (n - 1) + 1}, 32)`).join(' || ');
  const start = (n: number) => (n === 1 ? '0' : `ends[${n - 1}]`);
  const length = (n: number) => `ends[${n}] - ${start(n)}`;
  const ends = order.map((_, at) =>
    order
      .slice(0, at + 1)
      .map(length)
      .join(' + '),
  );
  const leaves = order.map((n) => `substr(leaves, ${start(n)} + 1, ${length(n)})`).join(' || ');
  await tx.query(`update entry_runs
                     set width = ${order.length}, times = array[${order.map((n) => `times[${n}]`)}],
                         entry_hashes = ${pieces('entry_hashes')}, leaf_hashes = ${pieces('leaf_hashes')}
                   where index = ${index};
                  update run_bodies set ends = array[${ends}], leaves = ${leaves} where index = ${index}`);
}

function counted(to: number): number[] {
  return Array.from({ length: to }, (_, n) => n + 1);
}

const long = `repeat('x', 70000)`;
const huge = `convert_to(repeat('x', 3000000), 'UTF8')`;
/** What columns of runs are set to, each of which makes the first entry wrong. */
const noValues: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  entry_runs: {
    width: ['null', '0', '-1', 'width + 1', 'width - 1', '33', '32767'],
    author: ['null', `''`, long],
    kind: ['null', `''`, long, `'drift.opened'`],
    seq: ['null', '-seq', '0', '9223372036854775807'],
    times: [
      ...[
        'null',
        `'{}'`,
        'times || times',
        'times[2:]',
        'array[times]',
        `'{{null,null}}'`,
        'array[null]::timestamptz[]',
      ],
      ...['infinity', '-infinity'].map((time) => `array_fill(timestamptz '${time}', array[width])`),
      `('[0:' || cardinality(times) - 1 || ']=' || times::text)::timestamptz[]`,
      `array_fill(times[1] - interval '1 day', array[100000])`,
      `array[null::timestamptz] || times[2:]`,
    ],
    entry_hashes: [
      'null',
      `''`,
      `'\\x00' || entry_hashes`,
      'substr(entry_hashes, 2)',
      'substr(entry_hashes, 33)',
      huge,
    ],
    leaf_hashes: ['null', `''`, `'\\x00' || leaf_hashes`, `leaf_hashes || '\\x00'`, 'substr(leaf_hashes, 2)', huge],
  },
  run_bodies: {
    ends: [
      ...['null', `'{}'`, 'ends || ends', 'ends[2:]', 'array[ends]', `'{{null,null}}'`, 'array[null]::int[]'],
      ...['0', '-1', '1', '65', '-2147483648', '2147483647'].map(
        (end) => `array_fill(${end}, array[cardinality(ends)])`,
      ),
      `('[0:' || cardinality(ends) - 1 || ']=' || ends::text)::int[]`,
      `array_fill(ends[1], array[100000])`,
      `array[null::int] || ends[2:]`,
      'ends || ends[cardinality(ends)]',
    ],
    leaves: ['null', `''`, `'\\x00' || leaves`, 'substr(leaves, 2)', huge],
  },
};

export const runAttacks: Readonly<Record<string, Attack>> = {
  'a value that no row of ours has': async ({ tx, random }) => {
    const { index } = random.pick(await runsOf(tx, random.pick([1, 2])));
    const table = random.pick(Object.keys(noValues));
    const [column, values] = random.pick(Object.entries(noValues[table] ?? {}));
    const value = random.pick(values);
    await tx.query(`alter table ${table} alter column ${column} drop not null`);
    await tx.query(`update ${table} set ${column} = ${value} where index = ${index}`);
    return { fault: undefined, named: [index] };
  },
  'a run without an index, beside the others': async ({ tx, random, victim: { size } }) => {
    const { index } = random.pick(await runsOf(tx));
    await tx.query(`alter table entry_runs drop constraint entry_runs_pkey, drop constraint entry_runs_author_seq_key;
                    alter table entry_runs alter column index drop not null;
                    insert into entry_runs select (jsonb_populate_record(r, '{"index": null}')).* from entry_runs r where index = ${index}`);
    return expect('head', size);
  },
  'a run deleted': async (scene) => {
    const { index } = await someRun(scene);
    await scene.tx.query(`delete from entry_runs where index = ${index}`);
    return expect('missing', index);
  },
  'a run deleted, with its bodies': async (scene) => {
    const { index } = await someRun(scene);
    await scene.tx.query(
      `delete from entry_runs where index = ${index}; delete from run_bodies where index = ${index}`,
    );
    return expect('missing', index);
  },
  'the bodies of a run deleted': async (scene) => {
    const { index } = await someRun(scene);
    await scene.tx.query(`delete from run_bodies where index = ${index}`);
    return expect('body', index);
  },
  'the last entry of a run cut off': async (scene) => {
    const { index, width } = await someRun(scene);
    await relay(scene.tx, index, counted(width - 1));
    return expect('missing', index + width - 1);
  },
  'the first entry of a run cut off': async (scene) => {
    const { index, width } = await someRun(scene);
    await relay(scene.tx, index, counted(width).slice(1));
    await scene.tx.query(`update entry_runs set index = index + 1, seq = seq + 1 where index = ${index};
                          update run_bodies set index = index + 1 where index = ${index}`);
    return expect('missing', index);
  },
  'two entries of a run exchanged': async (scene) => {
    const { index, width } = await someRun(scene);
    const at = scene.random.int(1, width - 1);
    const order = counted(width);
    [order[at - 1], order[at]] = [at + 1, at];
    await relay(scene.tx, index, order);
    return expect('columns', index + at - 1);
  },
  'a run that goes on with an entry it has': async (scene) => {
    const { index, width } = await someRun(scene);
    await relay(scene.tx, index, [...counted(width), width]);
    // Where it was the last one, nothing of ours is there any more.
    if (index + width === scene.victim.size) return expect('head', scene.victim.size);
    return { fault: undefined, named: [index, index + width] };
  },
  'a run that goes beyond the end': async ({ tx, victim: { size } }) => {
    await relay(tx, size - 1, [1, 1]);
    await tx.query(`update entry_runs set kind = 'report' where index = ${size - 1}`);
    return { fault: undefined, named: [size - 1, size] };
  },
  'two runs exchanged, with their bodies': async (scene) => {
    const { tx, random, victim } = scene;
    const runs = await runsOf(tx);
    const at = random.int(0, runs.length - 2);
    const [first, second] = [runs[at], random.pick(runs.slice(at + 1))];
    assert.ok(first !== undefined && second !== undefined);
    for (const table of ['entry_runs', 'run_bodies']) await exchangeRuns(tx, table, first.index, second.index);
    const { named } = brokenAt(first.index, victim);
    const narrow = first.index + Math.min(first.width, second.width);
    return { fault: undefined, named: [...named, narrow] };
  },
  'the bodies of two runs exchanged': async (scene) => {
    const { tx, random } = scene;
    const runs = await runsOf(tx);
    const at = random.int(0, runs.length - 2);
    const [first, second] = [runs[at], random.pick(runs.slice(at + 1))];
    assert.ok(first !== undefined && second !== undefined);
    await exchangeRuns(tx, 'run_bodies', first.index, second.index);
    return { fault: first.width === second.width ? 'leaf_hash' : 'body', named: [first.index] };
  },
  'a run there twice': async (scene) => {
    const { index } = await someRun(scene);
    await scene.tx.query(`alter table entry_runs drop constraint entry_runs_pkey, drop constraint entry_runs_author_seq_key;
                          insert into entry_runs select * from entry_runs where index = ${index}`);
    return expect('duplicate', index);
  },
  'a run there hundreds of times, and its bodies': async (scene) => {
    const { index } = await someRun(scene);
    await scene.tx.query(`alter table entry_runs drop constraint entry_runs_pkey, drop constraint entry_runs_author_seq_key;
                          alter table run_bodies drop constraint run_bodies_pkey;
                          insert into entry_runs select r.* from entry_runs r, generate_series(1, 300) where index = ${index};
                          insert into run_bodies select b.* from run_bodies b, generate_series(1, 300) where index = ${index}`);
    return expect('duplicate', index);
  },
  'bodies in the middle of a run': async (scene) => {
    const { index, width } = await someRun(scene);
    const within = index + scene.random.int(1, width - 1);
    await scene.tx.query(
      `insert into run_bodies select ${within}, ends, leaves from run_bodies where index = ${index}`,
    );
    return expect('duplicate', within);
  },
  'a run in the middle of another': async (scene) => {
    const { index, width } = await someRun(scene);
    const within = index + scene.random.int(1, width - 1);
    await scene.tx.query(`insert into entry_runs
                          select ${within}, width, author, -seq, kind, times, entry_hashes, leaf_hashes from entry_runs where index = ${index}`);
    return expect('duplicate', within);
  },
  'bytes behind the last leaf of a run': async (scene) => {
    const { index, width } = await someRun(scene);
    await scene.tx.query(`update run_bodies set leaves = leaves || '\\x00' where index = ${index}`);
    return expect('body', index + width - 1);
  },
  'a leaf that does not begin with its zero byte, hashed as it is': async (scene) => {
    const { index } = await someRun(scene);
    await scene.tx.query(`update run_bodies set leaves = set_byte(leaves, 0, 1) where index = ${index};
                          update entry_runs r set leaf_hashes = sha256(substr(b.leaves, 1, b.ends[1])) || substr(r.leaf_hashes, 33)
                            from run_bodies b where b.index = r.index and r.index = ${index}`);
    return expect('leaf_hash', index);
  },
  'two entries that stand alone laid into one row': async ({ tx, random }) => {
    const runs = await runsOf(tx);
    const first = random.pick(
      runs.filter(
        ({ width, author }, at) => width === 1 && runs[at + 1]?.width === 1 && runs[at + 1]?.author === author,
      ),
    );
    await tx.query(`update entry_runs a set width = 2, times = a.times || b.times, entry_hashes = a.entry_hashes || b.entry_hashes,
                           leaf_hashes = a.leaf_hashes || b.leaf_hashes
                      from entry_runs b where a.index = ${first.index} and b.index = a.index + 1;
                    update run_bodies a set ends = a.ends || (a.ends[1] + b.ends[1]), leaves = a.leaves || b.leaves
                      from run_bodies b where a.index = ${first.index} and b.index = a.index + 1;
                    delete from entry_runs where index = ${first.index + 1};
                    delete from run_bodies where index = ${first.index + 1}`);
    return expect('columns', first.index);
  },
};

function exchangeRuns(tx: Tx, table: string, first: number, second: number) {
  return tx.query(`update ${table} set index = -1 where index = ${first};
                   update ${table} set index = ${first} where index = ${second};
                   update ${table} set index = ${second} where index = -1`);
}
