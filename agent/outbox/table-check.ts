import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { limits } from '../../common/limits.ts';
import { LogReader, logBlockBytes } from '../sigils/log-format.ts';
import { SnappyDecoder } from '../sigils/snappy.ts';
import {
  BlockCursor,
  type BlockHandle,
  blockIntact,
  footerBytes,
  isMalformed,
  parseFooter,
  parseHandle,
  trailerBytes,
  valuePut,
} from '../sigils/table-format.ts';
import { VersionBuilder } from '../sigils/version-edit.ts';

/**
 * Tables of a LevelDB folder that are not what was written, by name. LevelDB does not check the CRCs of its tables by
 * itself, and ends the whole process when it merges a table whose keys a flipped byte has put out of order. So no table
 * is handed to it before every block of it was found right here.
 */
export interface TableDamage {
  /** Tables the database consists of. */
  readonly live: readonly string[];
  /** Those and leftovers, among them any that a killed process had not finished: no damage to the database. */
  readonly all: readonly string[];
}

export async function findTableDamage(dir: string): Promise<TableDamage> {
  const names = await readdir(dir).catch(() => []);
  const all: string[] = [];
  for (const name of names.filter((found) => /^\d+\.(ldb|sst)$/.test(found)).sort()) {
    if (!isTableIntact(await readFile(join(dir, name)))) all.push(name);
  }
  const live = all.length === 0 ? undefined : await liveTables(dir);
  return { live: all.filter((name) => live?.has(Number.parseInt(name, 10)) ?? true), all };
}

/** Numbers of the tables the MANIFEST names; undefined when it cannot be read, and then every table may count. */
async function liveTables(dir: string): Promise<ReadonlySet<number> | undefined> {
  const version = new VersionBuilder();
  try {
    const current = (await readFile(join(dir, 'CURRENT'), 'utf8')).trim();
    const manifest = await readFile(join(dir, current));
    const reader = new LogReader(0, limits.outboxTableBlockMaxBytes);
    for (let at = 0; at < manifest.length; at += logBlockBytes) {
      for (const edit of reader.read(manifest.subarray(at, at + logBlockBytes), at)) {
        if (!Buffer.isBuffer(edit) || !version.apply(edit)) return undefined;
      }
    }
  } catch {
    return undefined;
  }
  return new Set(version.tables.keys());
}

/** Every value put in the intact blocks of a table, in key order; of several under one key only the newest. */
export async function* looseValues(path: string): AsyncGenerator<readonly [key: string, value: Buffer]> {
  const file = await readFile(path);
  const decoder = new SnappyDecoder(limits.outboxTableBlockMaxBytes);
  const cursor = new BlockCursor();
  let last: string | undefined;
  for (const handle of dataHandles(file, decoder)) {
    const block = handle && readBlock(file, handle, decoder);
    if (!block) continue;
    cursor.open(block);
    while (cursor.next()) {
      const key = cursor.userKey().toString('utf8');
      if (cursor.isInternal && cursor.type === valuePut && key !== last) yield [key, Buffer.from(cursor.value())];
      last = key;
    }
  }
}

function isTableIntact(file: Buffer): boolean {
  const decoder = new SnappyDecoder(limits.outboxTableBlockMaxBytes);
  const handles = [...filterHandles(file, decoder), ...dataHandles(file, decoder)];
  return handles.every((handle) => handle && storedBlock(file, handle));
}

/** Where the data blocks lie, in key order; undefined in the place of what cannot be located. */
function dataHandles(file: Buffer, decoder: SnappyDecoder): (BlockHandle | undefined)[] {
  const footer = footerOf(file);
  return footer ? handlesIn(footer.index, file, decoder) : [undefined];
}

/** A wrong filter makes LevelDB miss keys that are there. */
function filterHandles(file: Buffer, decoder: SnappyDecoder): (BlockHandle | undefined)[] {
  const footer = footerOf(file);
  return footer ? handlesIn(footer.metaIndex, file, decoder) : [undefined];
}

function footerOf(file: Buffer) {
  const footer = parseFooter(file.subarray(-footerBytes), file.length);
  return isMalformed(footer) ? undefined : footer;
}

function handlesIn(index: BlockHandle, file: Buffer, decoder: SnappyDecoder): (BlockHandle | undefined)[] {
  const block = readBlock(file, index, decoder);
  if (block === undefined) return [undefined];
  const cursor = new BlockCursor();
  cursor.open(block);
  const handles: (BlockHandle | undefined)[] = [];
  while (cursor.next()) handles.push(parseHandle(cursor.value(), file.length) ?? undefined);
  return cursor.problem === null ? handles : [...handles, undefined];
}

/** A block as stored, with its compression byte, if its CRC is right. */
function storedBlock(file: Buffer, { offset, size }: BlockHandle): Buffer | undefined {
  const stored = file.subarray(offset, offset + size + trailerBytes);
  return stored.length === size + trailerBytes && blockIntact(stored) ? stored.subarray(0, size + 1) : undefined;
}

/** A block uncompressed, as a view that may live only until the next call with the same decoder. */
function readBlock(file: Buffer, handle: BlockHandle, decoder: SnappyDecoder): Buffer | undefined {
  const stored = storedBlock(file, handle);
  if (stored === undefined) return undefined;
  const content = stored.subarray(0, handle.size);
  return stored[handle.size] === 0 ? content : (decoder.decode(content) ?? undefined);
}
