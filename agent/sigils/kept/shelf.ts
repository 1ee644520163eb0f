import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { rfc3339 } from '../../../common/clock.ts';
import { AppError, errnoOf } from '../../../common/errors.ts';
import { foreignText, timestamp } from '../../../common/fields.ts';
import { snapshotId } from '../../../common/integrity-report.ts';
import { limits } from '../../../common/limits.ts';
import { makeFolder, renameDurably, syncFolder, writeDurably } from '../../data/durable-file.ts';
import { readBounded } from '../../data/plain-file.ts';
import { keptSuffix } from './kept-files.ts';
import type { HeldFile } from './retention.ts';

/** What a snapshot says of itself, in the one file that is not the store's. */
const note = z.strictObject({
  version: z.literal(1),
  store: foreignText,
  at: timestamp,
  /** Tables that were copied, with the fingerprint of what they are copies of: while the store's has that, no other copy is needed. */
  copies: z.array(z.tuple([z.string().max(32), z.string().max(128)])).max(limits.sigilMaxTables),
});

export type SnapshotNote = z.infer<typeof note>;

/** A snapshot that counts: whole, and of a store that was clean. */
export interface KeptSnapshot {
  readonly id: string;
  readonly folder: string;
  readonly at: string;
  readonly copies: ReadonlyMap<string, string>;
}

const noteName = 'snapshot.json';
const stagingPrefix = '.staging-';
const gonePrefix = '.gone-';

/**
 * The snapshots of one store, a folder each. What counts has a name that is an id, and got it by a rename, whole; it loses it by one
 * before the first of its files goes. So a crash at any moment leaves nothing that counts and is not whole.
 */
export class Shelf {
  readonly folder: string;
  private readonly store: string;

  constructor(dataDir: string, store: string) {
    this.folder = join(dataDir, 'kept', store);
    this.store = store;
  }

  /** Newest first; those that cannot be read, or are none, are passed over. @throws AppError `validation.config` for a folder that cannot be read */
  async list(): Promise<readonly KeptSnapshot[]> {
    const ids = (await this.names())
      .filter((name) => snapshotId.safeParse(name).success)
      .sort()
      .reverse();
    const found = await Promise.all(ids.map((id) => this.read(id)));
    return found.filter((snapshot) => snapshot !== undefined);
  }

  /** Takes away what a crash has left, and makes an empty folder for a new one. @throws the file system's error */
  async stage(id: string): Promise<string> {
    await makeFolder(this.folder);
    await this.clear();
    const folder = join(this.folder, `${stagingPrefix}${id}`);
    await mkdir(folder, { mode: 0o700 });
    return folder;
  }

  /** Resolved means that it counts, also after a power cut. All of its files are on disk already. @throws the file system's error */
  async publish(staged: string, id: string, atMs: number, copies: SnapshotNote['copies']): Promise<void> {
    const said: SnapshotNote = { version: 1, store: this.store, at: rfc3339(atMs), copies };
    await writeDurably(join(staged, noteName), `${JSON.stringify(said)}\n`);
    await syncFolder(staged);
    await renameDurably(staged, join(this.folder, id));
  }

  /** Unlinks its files; what they are shared with keeps them. @throws the file system's error */
  async drop({ id, folder }: KeptSnapshot): Promise<void> {
    const gone = join(this.folder, `${gonePrefix}${id}`);
    // First on disk, or a power cut leaves it counting without some of its files.
    await renameDurably(folder, gone);
    await rm(gone, { recursive: true, force: true });
  }

  /** What a crash, or a failure, has left. @throws the file system's error */
  async clear(): Promise<void> {
    const left = (await this.names()).filter((name) => name.startsWith(stagingPrefix) || name.startsWith(gonePrefix));
    for (const name of left) await rm(join(this.folder, name), { recursive: true, force: true });
  }

  private async read(id: string): Promise<KeptSnapshot | undefined> {
    const folder = join(this.folder, id);
    try {
      const text = await readBounded(join(folder, noteName), limits.maxSnapshotNoteBytes);
      const said = note.parse(JSON.parse(text ?? ''));
      return said.store === this.store ? { id, folder, at: said.at, copies: new Map(said.copies) } : undefined;
    } catch {
      return undefined;
    }
  }

  private async names(): Promise<readonly string[]> {
    try {
      return await readdir(this.folder);
    } catch (cause) {
      if (errnoOf(cause) === 'ENOENT') return [];
      throw new AppError('validation.config', `the snapshots in ${this.folder} cannot be read (${errnoOf(cause)})`, {
        cause,
      });
    }
  }
}

/** The files of the store in a snapshot; none of one that was just dropped. */
export async function heldFiles({ folder }: KeptSnapshot): Promise<readonly HeldFile[]> {
  const held: HeldFile[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    const file = name.endsWith(keptSuffix) ? await stat(join(folder, name)).catch(() => null) : null;
    if (file !== null) held.push({ inode: file.ino, bytes: file.size, links: file.nlink });
  }
  return held;
}

/** @param atMs Unix milliseconds */
export function snapshotIdAt(atMs: number): string {
  return rfc3339(atMs).replace(/[-:.]/g, '');
}
