import { createHash, type Hash } from 'node:crypto';
import { join } from 'node:path';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import type { Pacer } from '../pacer.ts';
import type { ByteFile } from './byte-file.ts';
import { EntryReader, EntryWriter } from './entry-file.ts';

/** Where the agent keeps the inventory of a store, whose name is safe in paths by the settings. */
export function inventoryPath(dataDir: string, store: string): string {
  return join(dataDir, 'inventory', `${store}.inventory`);
}

/** After the entries: how many there are, as a double, and SHA-256 of everything before itself. */
const countBytes = 8;
const hashBytes = 32;
const trailerBytes = countBytes + hashBytes;

function headerOf(store: string): Buffer {
  return Buffer.from(`sigilwatch inventory 1 ${JSON.stringify(store)}\n`);
}

/**
 * The entries of a whole inventory of this store, in the order of their keys. Read once for its hash before any of it is believed.
 * @throws AppError `state.conflict` for a file that is torn, of another store, or none of ours
 */
export async function readInventory(file: ByteFile, store: string, pacer: Pacer): Promise<EntryReader> {
  const header = headerOf(store);
  const hash = createHash('sha256');
  const end = file.bytes - trailerBytes;
  const buffer = Buffer.allocUnsafeSlow(limits.sigilWindowBytes);
  for (let at = 0; at < file.bytes - hashBytes; ) {
    const wanted = Math.min(buffer.length, file.bytes - hashBytes - at);
    const read = await file.read(buffer.subarray(0, wanted), at);
    if (at === 0 && !buffer.subarray(0, Math.min(read, header.length)).equals(header)) {
      throw damaged('is not of this store, or of another version');
    }
    if (read === 0) throw damaged('ended while it was read');
    hash.update(buffer.subarray(0, read));
    at += read;
    if (pacer.due) await pacer.rest();
  }
  const claimed = Buffer.alloc(hashBytes);
  await file.read(claimed, Math.max(file.bytes - hashBytes, 0));
  if (end < header.length || !hash.digest().equals(claimed)) throw damaged('is torn, or was changed');
  return new EntryReader(file, { from: header.length, to: end });
}

/** Writes an inventory to an empty file, from {@link begin} to {@link finish}. */
export class InventoryWriter extends EntryWriter {
  private readonly header: Buffer;
  private readonly target: ByteFile;
  private readonly digest: Hash;
  private readonly from: number;

  private constructor(file: ByteFile, header: Buffer, hash: Hash) {
    super(file, hash);
    this.from = file.bytes;
    this.target = file;
    this.header = header;
    this.digest = hash;
  }

  /** @throws AppError `state.conflict` */
  static async begin(file: ByteFile, store: string): Promise<InventoryWriter> {
    const writer = new InventoryWriter(file, headerOf(store), createHash('sha256'));
    writer.digest.update(writer.header);
    await file.append(writer.header);
    return writer;
  }

  /**
   * @returns the entries, to be read again
   * @throws AppError `state.conflict`
   */
  async finish(): Promise<EntryReader> {
    await this.flush();
    const extent = { from: this.from + this.header.length, to: this.target.bytes };
    const count = Buffer.alloc(countBytes);
    count.writeDoubleLE(this.entries);
    const digest = this.digest.update(count).digest();
    await this.target.append(Buffer.concat([count, digest]));
    return new EntryReader(this.target, extent);
  }
}

function damaged(how: string): AppError {
  return new AppError('state.conflict', `the inventory ${how}`);
}
