import { isUtf8 } from 'node:buffer';
import type { Tx } from '../../../collector/postgres/pool.ts';
import type { Random } from '../../e2e/random.ts';
import type { Victim } from './tamper-ledger.ts';

/** Entries that may be named. */
type Named = readonly (number | null)[];

/** A value that is going to be changed: what finds its row again, and where the ledger goes wrong when it is. */
interface Target {
  readonly where: string;
  /** Of an array, the element; 1 is the first. */
  readonly element?: number;
  /** @param after the value that it is changed to. @param at which of its bytes that is. */
  readonly named: (after: Buffer, at: number) => Named;
}

interface Column {
  readonly table: string;
  readonly column: string;
  readonly type: 'bytea' | 'text' | 'int8' | 'int4' | 'int2' | 'timestamptz' | 'bool';
  readonly targets: readonly Target[];
}

export interface Flip {
  readonly what: string;
  readonly named: Named;
}

const hashBytes = 32;

/** Every column of every table that the ledger is made of, with its rows. */
export async function columnsOf(victim: Victim, erasedTo: number): Promise<readonly Column[]> {
  return [...(await columnsOfRuns(victim, erasedTo)), ...(await columnsBeside(victim))];
}

interface Run {
  readonly index: number;
  readonly width: number;
  /** Where its leaves end; null once they are gone. */
  readonly ends: readonly number[] | null;
}

/** What belongs to one entry leads to that one, what belongs to all of the run to its first. */
async function columnsOfRuns({ db, batches, size }: Victim, erasedTo: number): Promise<readonly Column[]> {
  const { rows: runs } = await db.query<Run>(
    'select index, width, ends from entry_runs left join run_bodies using (index) order by index',
  );
  const firstErased = runs.find(({ ends }) => ends === null)?.index ?? 0;
  const namedAt = (index: number): Named => {
    const batch = batches.findLast((end) => end <= index) ?? 0;
    // Without the entry that tells of the erasure, nothing vouches for the first body that is gone.
    if (erasedTo > 0 && index === size - 1) return [index, firstErased];
    // Of an erased entry only the tree and the digest of its span are left to tell, and they tell of more than one.
    return index < erasedTo ? [index, batch, 0] : [index];
  };
  const bodyAt = (index: number): Named => (index === size - 1 ? namedAt(index) : [index]);
  // Both places are wrong: where it was, and where it came to lie if that is the place of an entry.
  const moved = (index: number, named: Named) => (after: Buffer) => {
    const value = after.readBigInt64BE();
    return value >= 0n && value < BigInt(index) ? [Number(value), ...named.slice(1)] : named;
  };
  const whereOf = ({ index }: Run) => `index = ${index}`;
  const bodies = runs.filter(({ ends }) => ends !== null);
  const wholes = runs.map((run) => ({ where: whereOf(run), named: () => namedAt(run.index) }));
  const elements = (from: readonly Run[], named: (index: number) => Named) =>
    from.flatMap((run) =>
      Array.from({ length: run.width }, (_, n) => {
        return { where: whereOf(run), element: n + 1, named: () => named(run.index + n) };
      }),
    );
  const hashes = runs.map((run) => {
    const named = (_: Buffer, at: number) => namedAt(run.index + Math.floor(at / hashBytes));
    return { where: whereOf(run), named };
  });
  const leaves = bodies.map((run) => {
    const named = (_: Buffer, at: number) => bodyAt(run.index + (run.ends ?? []).findIndex((end) => at < end));
    return { where: whereOf(run), named };
  });
  const movedRuns = runs.map((run) => ({ where: whereOf(run), named: moved(run.index, namedAt(run.index)) }));
  const movedBodies = bodies.map((run) => ({ where: whereOf(run), named: moved(run.index, bodyAt(run.index)) }));
  return [
    { table: 'entry_runs', column: 'index', type: 'int8', targets: movedRuns },
    ...all('entry_runs', wholes, { width: 'int2', author: 'text', seq: 'int8', kind: 'text' }),
    { table: 'entry_runs', column: 'times', type: 'timestamptz', targets: elements(runs, namedAt) },
    ...all('entry_runs', hashes, { entry_hashes: 'bytea', leaf_hashes: 'bytea' }),
    { table: 'run_bodies', column: 'index', type: 'int8', targets: movedBodies },
    { table: 'run_bodies', column: 'ends', type: 'int4', targets: elements(bodies, bodyAt) },
    ...all('run_bodies', leaves, { leaves: 'bytea' }),
  ];
}

async function columnsBeside({ db, batches, size }: Victim): Promise<readonly Column[]> {
  const targets = async (sql: string, where: (n: number) => string, named?: Named) => {
    const { rows } = await db.query<{ n: number }>({ text: sql });
    return rows.map(({ n }): Target => ({ where: where(n), named: () => named ?? [n] }));
  };
  const tiles = [{ where: 'level = 0 and n = 0', named: () => [0] }];
  const froms = batches.map((end, at) => ({ where: `size = ${end}`, named: () => [batches[at - 1] ?? 0] }));
  const movedBatches = batches.map((end, at) => {
    const placeOf = (value: bigint) => batches.findLast((other) => BigInt(other) < value) ?? 0;
    return {
      where: `size = ${end}`,
      named: (after: Buffer) => [batches[at - 1] ?? 0, placeOf(after.readBigInt64BE())],
    };
  });
  const checkpoints = await targets('select size as n from checkpoints', (n) => `size = ${n}`, [null]);
  const heads = await targets('select index as n from author_heads', (n) => `index = ${n}`);
  const nodes = await targets('select enrolled_index as n from nodes', (n) => `enrolled_index = ${n}`);
  const revoked = await targets(
    'select enrolled_index as n from nodes where revoked_at is not null',
    (n) => `enrolled_index = ${n}`,
  );
  const head = [{ where: 'true', named: () => [null] }];
  const namedBySize = (after: Buffer) => {
    const value = after.readBigInt64BE();
    return value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER) ? [null] : [Math.min(Number(value), size)];
  };
  return [
    ...all('tiles', tiles, { level: 'int2', n: 'int8', hashes: 'bytea' }),
    { table: 'batches', column: 'size', type: 'int8', targets: movedBatches },
    ...all('batches', froms, { root: 'bytea', received_ms: 'int8', signature: 'bytea' }),
    ...all('checkpoints', checkpoints, { size: 'int8', note: 'text' }),
    { table: 'ledger_head', column: 'size', type: 'int8', targets: [{ where: 'true', named: namedBySize }] },
    ...all('ledger_head', head, { only_row: 'bool', origin: 'text', root: 'bytea', edge: 'bytea' }),
    ...all('author_heads', heads, { author: 'text', seq: 'int8', entry_hash: 'bytea', index: 'int8' }),
    ...all('nodes', nodes, { node: 'text', public_key: 'bytea', fingerprint: 'text', enrolled_at: 'timestamptz' }),
    ...all('nodes', nodes, { enrolled_index: 'int8', first_index: 'int8' }),
    ...all('nodes', revoked, { revoked_at: 'timestamptz' }),
  ];
}

function all(table: string, targets: readonly Target[], types: Readonly<Record<string, Column['type']>>): Column[] {
  return Object.entries(types).map(([column, type]) => ({ table, column, type, targets }));
}

/** Changes one byte of one column. @returns undefined when the database cannot hold what that would make. */
export async function flipOne(tx: Tx, random: Random, columns: readonly Column[]): Promise<Flip | undefined> {
  const column = random.pick(columns);
  const target = random.pick(column.targets);
  const { table, type } = column;
  const name = `"${column.column}"${target.element === undefined ? '' : `[${target.element}]`}`;
  const { rows } = await tx.query<{ value: Buffer }>(
    `select ${asBytes[type](name)} as value from ${table} where ${target.where}`,
  );
  const before = rows[0]?.value;
  if (before === undefined || before.length === 0) return undefined;
  const at = random.int(0, before.length - 1);
  const mask = type === 'bool' ? 1 : random.int(1, 255);
  const after = Buffer.from(before);
  after[at] = (after[at] ?? 0) ^ mask;
  if (type === 'text' && (!isUtf8(after) || after.includes(0))) return undefined;
  await tx.query('savepoint flip');
  try {
    await tx.query(`update ${table} set ${name} = ${fromBytes[type]} where ${target.where}`, [
      parameterOf(type, after),
    ]);
  } catch {
    // Out of what the type can say, or where another row is already.
    await tx.query('rollback to flip');
    return undefined;
  }
  return { what: `byte ${at} of ${table}.${name} where ${target.where}, mask ${mask}`, named: target.named(after, at) };
}

/** What a column holds, byte by byte as it is stored. */
const asBytes = {
  bytea: (name: string) => name,
  text: (name: string) => `convert_to(${name}, 'UTF8')`,
  int8: (name: string) => `int8send(${name})`,
  int4: (name: string) => `int4send(${name})`,
  int2: (name: string) => `int2send(${name})`,
  bool: (name: string) => `boolsend(${name})`,
  timestamptz: (name: string) => `timestamptz_send(${name})`,
} as const;

const fromBytes = {
  bytea: '$1::bytea',
  text: '$1::text',
  int8: '$1::int8',
  int4: '$1::int4',
  int2: '$1::int2',
  bool: '$1::bool',
  timestamptz: `timestamptz '2000-01-01 00:00:00+00' + ($1 || ' microseconds')::interval`,
} as const;

function parameterOf(type: Column['type'], bytes: Buffer): Buffer | string | boolean {
  if (type === 'bytea') return bytes;
  if (type === 'text') return bytes.toString('utf8');
  if (type === 'bool') return bytes[0] === 1;
  if (type === 'int2') return String(bytes.readInt16BE());
  return String(type === 'int4' ? bytes.readInt32BE() : bytes.readBigInt64BE());
}
