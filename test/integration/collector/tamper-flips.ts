import { isUtf8 } from 'node:buffer';
import type { Tx } from '../../../collector/postgres/pool.ts';
import type { Random } from '../../e2e/random.ts';
import type { Victim } from './tamper-ledger.ts';

/** A row that is going to be changed: what finds it again, and where the ledger goes wrong when it is. */
interface Target {
  readonly where: string;
  /** Entries that may be named. */
  readonly named: readonly (number | null)[];
}

interface Column {
  readonly table: string;
  readonly column: string;
  readonly type: 'bytea' | 'text' | 'int8' | 'int2' | 'timestamptz' | 'bool';
  readonly targets: readonly Target[];
  /** Where it goes wrong when that depends on the new value. */
  readonly named?: (target: Target, value: bigint) => readonly (number | null)[];
}

export interface Flip {
  readonly what: string;
  readonly named: readonly (number | null)[];
}

/** Every column of every table that the ledger is made of, with its rows. */
export async function columnsOf({ db, batches, size }: Victim, erasedTo: number): Promise<readonly Column[]> {
  const numbers = async (sql: string) => (await db.query<{ n: number }>({ text: sql })).rows.map(({ n }) => n);
  const [firstErased = 0] = await numbers(
    'select min(e.index) as n from entries e left join entry_bodies b using (index) where b.index is null',
  );
  const entries: Target[] = Array.from({ length: size }, (_, index) => {
    const batch = batches.findLast((end) => end <= index) ?? 0;
    // Without the entry that tells of the erasure, nothing vouches for the first body that is gone.
    if (erasedTo > 0 && index === size - 1) return { where: `index = ${index}`, named: [index, firstErased] };
    // Of an erased entry only the tree and the digest of its span are left to tell, and they tell of more than one.
    return { where: `index = ${index}`, named: index < erasedTo ? [index, batch, 0] : [index] };
  });
  const bodies = (await numbers('select index as n from entry_bodies order by 1')).map((index) => {
    return { where: `index = ${index}`, named: [index] };
  });
  const tiles = [{ where: 'level = 0 and n = 0', named: [0] }];
  const froms = batches.map((end, at) => ({ where: `size = ${end}`, named: [batches[at - 1] ?? 0] }));
  const checkpoints = (await numbers('select size as n from checkpoints')).map((end) => {
    return { where: `size = ${end}`, named: [null] };
  });
  const heads = (await numbers('select index as n from author_heads')).map((index) => {
    return { where: `index = ${index}`, named: [index] };
  });
  const nodes = (await numbers('select enrolled_index as n from nodes')).map((index) => {
    return { where: `enrolled_index = ${index}`, named: [index] };
  });
  const revoked = (await numbers('select enrolled_index as n from nodes where revoked_at is not null')).map((n) => {
    return { where: `enrolled_index = ${n}`, named: [n] };
  });
  const head = [{ where: 'true', named: [null] }];
  const all = (table: string, targets: readonly Target[], types: Readonly<Record<string, Column['type']>>): Column[] =>
    Object.entries(types).map(([column, type]) => ({ table, column, type, targets }));
  const movedBatch = (target: Target, value: bigint) => [
    ...target.named,
    batches.findLast((end) => BigInt(end) < value) ?? 0,
  ];
  // Both places are wrong: where it was, and where it came to lie if that is the place of an entry, whose own was erased.
  const movedBody = (target: Target, value: bigint) =>
    erasedTo > 0 && target.named.includes(size - 1)
      ? [size - 1, firstErased]
      : target.named.map((index) => (value >= 0n && value < BigInt(index ?? size) ? Number(value) : index));
  const movedHead = (_: Target, value: bigint) =>
    value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER) ? [null] : [Math.min(Number(value), size)];
  return [
    ...all('entries', entries, { index: 'int8', author: 'text', seq: 'int8', kind: 'text', at: 'timestamptz' }),
    ...all('entries', entries, { entry_hash: 'bytea', leaf_hash: 'bytea' }),
    { table: 'entry_bodies', column: 'index', type: 'int8', targets: bodies, named: movedBody },
    ...all('entry_bodies', bodies, { bytes: 'bytea', signature: 'bytea' }),
    ...all('tiles', tiles, { level: 'int2', n: 'int8', hashes: 'bytea' }),
    { table: 'batches', column: 'size', type: 'int8', targets: froms, named: movedBatch },
    ...all('batches', froms, { root: 'bytea', received_ms: 'int8', signature: 'bytea' }),
    ...all('checkpoints', checkpoints, { size: 'int8', note: 'text' }),
    { table: 'ledger_head', column: 'size', type: 'int8', targets: head, named: movedHead },
    ...all('ledger_head', head, { only_row: 'bool', origin: 'text', root: 'bytea', edge: 'bytea' }),
    ...all('author_heads', heads, { author: 'text', seq: 'int8', entry_hash: 'bytea', index: 'int8' }),
    ...all('nodes', nodes, { node: 'text', public_key: 'bytea', fingerprint: 'text', enrolled_at: 'timestamptz' }),
    ...all('nodes', nodes, { enrolled_index: 'int8', first_index: 'int8' }),
    ...all('nodes', revoked, { revoked_at: 'timestamptz' }),
  ];
}

/** Changes one byte of one column. @returns undefined when the database cannot hold what that would make. */
export async function flipOne(tx: Tx, random: Random, columns: readonly Column[]): Promise<Flip | undefined> {
  const column = random.pick(columns);
  const target = random.pick(column.targets);
  const { table, type } = column;
  const name = `"${column.column}"`;
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
  const named = column.named?.(target, after.readBigInt64BE()) ?? target.named;
  return { what: `byte ${at} of ${table}.${column.column} where ${target.where}, mask ${mask}`, named };
}

/** What a column holds, byte by byte as it is stored. */
const asBytes = {
  bytea: (name: string) => name,
  text: (name: string) => `convert_to(${name}, 'UTF8')`,
  int8: (name: string) => `int8send(${name})`,
  int2: (name: string) => `int2send(${name})`,
  bool: (name: string) => `boolsend(${name})`,
  timestamptz: (name: string) => `timestamptz_send(${name})`,
} as const;

const fromBytes = {
  bytea: '$1::bytea',
  text: '$1::text',
  int8: '$1::int8',
  int2: '$1::int2',
  bool: '$1::bool',
  timestamptz: `timestamptz '2000-01-01 00:00:00+00' + ($1 || ' microseconds')::interval`,
} as const;

function parameterOf(type: Column['type'], bytes: Buffer): Buffer | string | boolean {
  if (type === 'bytea') return bytes;
  if (type === 'text') return bytes.toString('utf8');
  if (type === 'bool') return bytes[0] === 1;
  return String(type === 'int2' ? bytes.readInt16BE() : bytes.readBigInt64BE());
}
