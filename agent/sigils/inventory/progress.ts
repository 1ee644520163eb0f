import { createHash, type Hash } from 'node:crypto';
import { constants, open, rename } from 'node:fs/promises';
import { z } from 'zod';
import { type Clock, rfc3339 } from '../../../common/clock.ts';
import { errnoOf } from '../../../common/errors.ts';
import { count, hex64, timestamp } from '../../../common/fields.ts';
import { limits } from '../../../common/limits.ts';
import { writeDurably } from '../../data/durable-file.ts';
import { readBounded } from '../../data/plain-file.ts';
import type { Pacer } from '../pacer.ts';
import { ByteFile, presentFile, refusing, unlinkIfThere } from './byte-file.ts';

const counts = z.strictObject({ tables: count, blocks: count, bytes: count, records: count, sigils: count });

export const progressVersion = 2;
/** Of any version. */
const anyProgress = z.looseObject({ version: z.number() });

/** What a full scan that was cut short has behind it. */
const progressFile = z.strictObject({
  version: z.literal(progressVersion),
  startedAt: timestamp,
  /** Of the program and the secrets it judged by. */
  judge: hex64,
  /** The store's folder itself: another one in its place is another store. */
  folder: z.string().max(128),
  /** Highest number of a file of the store: LevelDB never goes back. */
  highestFile: count,
  /** Tables without anything to say of them: name, fingerprint, and what was read in each. The others are read again. */
  tables: z.array(z.tuple([z.string().max(32), z.string().max(128), counts])).max(limits.sigilMaxRememberedTables),
  /** The sorted runs, and what they are part of: so many bytes with this SHA-256. */
  spill: z.strictObject({
    bytes: count,
    sha256: hex64,
    runs: z.array(z.strictObject({ from: count, to: count, level: count })).max(10_000),
  }),
});

export type Progress = z.infer<typeof progressFile>;

/** What a scan that is cut short is known by. */
export interface Resumption {
  readonly clock: Clock;
  readonly judge: string;
  readonly folder: string;
  readonly highestFile: number;
  /** Whether the table is still in the store, and the same. */
  readonly stands: (table: string, fingerprint: string) => Promise<boolean>;
}

/** A file of our own whose bytes are hashed as they are appended. */
export class HashedFile extends ByteFile {
  private readonly hash: Hash;

  constructor(file: ConstructorParameters<typeof ByteFile>, hash: Hash = createHash('sha256')) {
    super(...file);
    this.hash = hash;
  }

  override async append(bytes: Buffer): Promise<void> {
    await super.append(bytes);
    this.hash.update(bytes);
  }

  /** Of all that is in it. */
  get sha256(): string {
    return this.hash.copy().digest('hex');
  }
}

/** A new, empty file at that path, whatever was there. @throws AppError `state.conflict` */
export async function emptySpill(path: string): Promise<HashedFile> {
  return refusing(path, async () => {
    await unlinkIfThere(path);
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
    return new HashedFile([await open(path, flags, 0o600), path]);
  });
}

/** Why a scan that was cut short is not gone on with, as a person is told. */
const refusals = {
  unreadable: 'what it wrote down cannot be read',
  version: 'another version of the program wrote it down',
  judge: 'the program, its secrets, or whether there is an inventory to compare with, are not the same any more',
  folder: 'the store was replaced since',
  numbers: 'the store went back to an earlier state since',
  future: 'the clock was set back since',
  age: `it was begun more than ${limits.fullScanResumeMs / 3_600_000} hours ago`,
  tables: 'none of the tables that it had read is still the same',
  spill: 'what it had taken down is gone or damaged',
} as const;

export interface Refused {
  readonly refused: (typeof refusals)[keyof typeof refusals];
}

export interface Resumable {
  readonly progress: Progress;
  readonly spill: HashedFile;
}

/**
 * What can be gone on with: of this store, this program and these secrets, begun recently, and whole; of its tables those that are still
 * there. Null when nothing was left.
 * @throws AppError `state.conflict`
 */
export async function resumable(
  paths: { readonly progress: string; readonly spill: string },
  { clock, judge, folder, highestFile, stands }: Resumption,
  pacer: Pacer,
): Promise<Resumable | Refused | null> {
  const progress = await readProgress(paths.progress);
  if (progress === null || 'refused' in progress) return progress;
  if (progress.judge !== judge) return { refused: refusals.judge };
  if (progress.folder !== folder) return { refused: refusals.folder };
  if (progress.highestFile > highestFile) return { refused: refusals.numbers };
  const agoMs = clock.now() - Date.parse(progress.startedAt);
  if (agoMs < 0) return { refused: refusals.future };
  if (agoMs > limits.fullScanResumeMs) return { refused: refusals.age };
  const tables: Progress['tables'] = [];
  for (const table of progress.tables) {
    if (await stands(table[0], table[1])) tables.push(table);
    if (pacer.due) await pacer.rest();
  }
  if (tables.length === 0) return { refused: refusals.tables };
  const spill = await reopenedSpill(paths.spill, progress.spill, pacer);
  return spill === null ? { refused: refusals.spill } : { progress: { ...progress, tables }, spill };
}

/** Durable, whole or not at all: the spill it speaks of is on disk already. @throws AppError `state.conflict` */
export async function writeProgress(path: string, progress: Progress): Promise<void> {
  await refusing(path, () => writeDurably(path, JSON.stringify(progress)));
}

/** When a scan begins, as its progress says it. */
export function beginning(clock: Clock): string {
  return rfc3339(clock.now());
}

async function readProgress(path: string): Promise<Progress | Refused | null> {
  try {
    const written: unknown = JSON.parse((await readBounded(path, limits.maxScanPositionBytes)) ?? '');
    const version = anyProgress.safeParse(written);
    if (version.success && version.data.version !== progressVersion) return { refused: refusals.version };
    return progressFile.parse(written);
  } catch (thrown) {
    return errnoOf(thrown) === 'ENOENT' ? null : { refused: refusals.unreadable };
  }
}

/**
 * A copy in the place of the file, without what a crash has left behind its end; null when it is not what was written. A copy, because a
 * process that nobody here can see may be writing to the file still: it goes on with one that counts for nothing.
 */
async function reopenedSpill(
  path: string,
  { bytes, sha256 }: Progress['spill'],
  pacer: Pacer,
): Promise<HashedFile | null> {
  const from = await presentFile(path).catch(() => null);
  if (from === null) return null;
  const copyPath = unfinishedCopy(path);
  const copy = await emptySpill(copyPath);
  try {
    const buffer = Buffer.allocUnsafeSlow(limits.sigilWindowBytes);
    while (copy.bytes < bytes) {
      const read = await from.read(buffer.subarray(0, Math.min(buffer.length, bytes - copy.bytes)), copy.bytes);
      if (read === 0) break;
      await copy.append(buffer.subarray(0, read));
      if (pacer.due) await pacer.rest();
    }
    if (copy.bytes === bytes && copy.sha256 === sha256) {
      await refusing(path, () => rename(copyPath, path));
      return copy;
    }
  } catch (thrown) {
    await discard(copy, copyPath);
    throw thrown;
  } finally {
    await from.close();
  }
  await discard(copy, copyPath);
  return null;
}

/** Where a copy stands until it is whole. */
export function unfinishedCopy(spill: string): string {
  return `${spill}.new`;
}

async function discard(file: ByteFile, path: string): Promise<void> {
  await file.close();
  await unlinkIfThere(path).catch(() => {});
}
