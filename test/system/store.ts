import { closeSync, openSync, readdirSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Level } from 'level';
import { z } from 'zod';
import { makeSigilRecord } from '../fakes/sigil-writer.ts';
import { fromSource } from '../from-source.ts';
import { jsonLine, type Program, startProgram } from './program.ts';

const writerFile = join(import.meta.dirname, 'writer-process.ts');
const batchRecords = 1_000;

export interface StoreContents {
  readonly records: number;
  readonly tenant: string;
  readonly secret: string;
}

/** Makes a sigil store with valid records, all of them in table files: closed and opened once more, then at rest. */
export async function makeStore(dir: string, { records, tenant, secret }: StoreContents): Promise<void> {
  await withStore(dir, async (db) => {
    for (let at = 0; at < records; at += batchRecords) {
      const count = Math.min(batchRecords, records - at);
      const record = (_: unknown, i: number) => makeSigilRecord({ tenant, secret, symbol: `SYM${(at + i) % 100}` });
      await db.batch(Array.from({ length: count }, record).map((made) => ({ type: 'put' as const, ...made })));
    }
  });
  // Opening replays the log into a table; compacting sinks it below where later tables are merged soon.
  await withStore(dir, async (db) => {
    if ('compactRange' in db && typeof db.compactRange === 'function') await db.compactRange('\u0000', '\uffff');
  });
}

/** A changed byte, where it lies. */
export interface FlippedByte {
  readonly file: string;
  readonly offset: number;
}

/** Flips one bit of one byte amid the data of the store's largest table, as a failing disk would. */
export function flipByte(dir: string): FlippedByte {
  const tables = readdirSync(dir).filter((name) => name.endsWith('.ldb'));
  const sized = tables.map((file) => ({ file, bytes: statSync(join(dir, file)).size }));
  const largest = sized.sort((a, b) => b.bytes - a.bytes)[0];
  if (largest === undefined) throw new Error(`the store ${dir} has no table`);
  const offset = Math.floor(largest.bytes / 3);
  const handle = openSync(join(dir, largest.file), 'r+');
  const byte = Buffer.alloc(1);
  readSync(handle, byte, 0, 1, offset);
  byte.writeUInt8(byte.readUInt8(0) ^ 0x10);
  writeSync(handle, byte, 0, 1, offset);
  closeSync(handle);
  return { file: largest.file, offset };
}

export interface WriterOptions {
  readonly dir: string;
  readonly tenant: string;
  readonly secret: string;
  /** Records per second; 0 writes as fast as the store takes them. */
  readonly rate: number;
}

/** A process that has the store open and writes valid sigils. */
export interface RunningWriter {
  readonly pid: number;
  /** Writes one record whose checksum is not that of its data. @returns its key */
  writeWrongChecksum(): Promise<string>;
  /** How many records it has written, and under how many keys. */
  counts(): Promise<{ readonly written: number; readonly keys: number }>;
  stop(): Promise<void>;
  kill9(): Promise<void>;
  logs(): readonly string[];
}

/** Starts a writer on a store, new or existing, and waits until it has written. */
export async function startWriter(options: WriterOptions): Promise<RunningWriter> {
  const args = [...fromSource(writerFile), JSON.stringify(options)];
  const program = startProgram({ name: `writer of ${options.dir}`, command: process.execPath, args });
  await program.find('has written', (line) => jsonLine(line)?.ready);
  const ask = commands(program);
  return {
    pid: program.pid,
    writeWrongChecksum: async () => (await ask('wrong-checksum', z.object({ key: z.string() }))).key,
    counts: () => ask('counts', z.object({ written: z.number(), keys: z.number() })),
    stop: program.stop,
    kill9: program.kill9,
    logs: program.logs,
  };
}

function commands(program: Program) {
  let asked = 0;
  return async <T>(command: string, schema: z.ZodType<T>): Promise<T> => {
    const id = ++asked;
    program.send(JSON.stringify({ id, command }));
    const answer = await program.find(`answers ${command}`, (line) => {
      const said = jsonLine(line);
      return said?.id === id ? said : undefined;
    });
    return schema.parse(answer);
  };
}

async function withStore(dir: string, work: (db: Level<string, unknown>) => Promise<void>): Promise<void> {
  const db = new Level<string, unknown>(dir, { valueEncoding: 'json' });
  await db.open();
  try {
    await work(db);
  } finally {
    await db.close();
  }
}
