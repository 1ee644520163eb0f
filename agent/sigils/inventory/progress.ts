import { createHash, type Hash } from 'node:crypto';
import { constants, open, readFile } from 'node:fs/promises';
import { z } from 'zod';
import { type Clock, rfc3339 } from '../../../common/clock.ts';
import { count, hex64, timestamp } from '../../../common/fields.ts';
import { limits } from '../../../common/limits.ts';
import { writeDurably } from '../../durable-file.ts';
import type { Pacer } from '../pacer.ts';
import { ByteFile, refusing, unlinkIfThere } from './byte-file.ts';

/** What a full scan that was cut short has behind it. */
const progressFile = z.strictObject({
  version: z.literal(1),
  startedAt: timestamp,
  /** Of the program and the secrets it judged by. */
  judge: hex64,
  /** Highest number of a file of the store: LevelDB never goes back. */
  highestFile: count,
  /** Tables without anything to say of them: name and fingerprint. The others are read again. */
  tables: z.array(z.tuple([z.string().max(32), z.string().max(128)])).max(limits.sigilMaxRememberedTables),
  /** What was read in them. */
  counts: z.strictObject({ tables: count, blocks: count, bytes: count, records: count, sigils: count }),
  /** The sorted runs, and what they are part of: so many bytes with this SHA-256. */
  spill: z.strictObject({
    bytes: count,
    sha256: hex64,
    runs: z.array(z.strictObject({ from: count, to: count, level: count })).max(10_000),
  }),
});

export type Progress = z.infer<typeof progressFile>;

export interface Resumption {
  readonly clock: Clock;
  readonly judge: string;
  readonly highestFile: number;
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

/**
 * What can be gone on with: of this store, this program and these secrets, begun recently, and whole. Null when there is none.
 * @throws AppError `state.conflict`
 */
export async function resumable(
  paths: { readonly progress: string; readonly spill: string },
  { clock, judge, highestFile }: Resumption,
  pacer: Pacer,
): Promise<{ readonly progress: Progress; readonly spill: HashedFile } | null> {
  const progress = await readProgress(paths.progress);
  if (progress === null || progress.judge !== judge || progress.highestFile > highestFile) return null;
  const agoMs = clock.now() - Date.parse(progress.startedAt);
  if (agoMs < 0 || agoMs > limits.fullScanResumeMs) return null;
  const spill = await reopenedSpill(paths.spill, progress.spill, pacer);
  return spill && { progress, spill };
}

/** Durable, whole or not at all: the spill it speaks of is on disk already. @throws AppError `state.conflict` */
export async function writeProgress(path: string, progress: Progress): Promise<void> {
  await refusing(path, () => writeDurably(path, JSON.stringify(progress)));
}

/** When a scan begins, as its progress says it. */
export function beginning(clock: Clock): string {
  return rfc3339(clock.now());
}

async function readProgress(path: string): Promise<Progress | null> {
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    return progressFile.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** Without what a crash has left behind its end; null when it is not what was written. */
async function reopenedSpill(
  path: string,
  { bytes, sha256 }: Progress['spill'],
  pacer: Pacer,
): Promise<HashedFile | null> {
  return refusing(path, async () => {
    const flags = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW;
    const handle = await open(path, flags).catch(() => null);
    if (handle === null) return null;
    const found = await handle.stat();
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafeSlow(limits.sigilWindowBytes);
    let at = 0;
    while (found.isFile() && at < bytes) {
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, bytes - at), at);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
      if (pacer.due) await pacer.rest();
    }
    if (at === bytes && hash.copy().digest('hex') === sha256) {
      await handle.truncate(bytes);
      return new HashedFile([handle, path, bytes], hash);
    }
    await handle.close();
    return null;
  });
}
