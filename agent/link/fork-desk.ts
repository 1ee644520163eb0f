import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import { AppError, errnoOf, toAppError } from '../../common/errors.ts';
import { clip, ownText, timestamp } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { makeFolder, writeDurably } from '../data/durable-file.ts';
import type { Journal } from '../ports.ts';
import type { ForkStatement } from './witness.ts';

const note = z.string().max(limits.maxHeldNoteChars);

/** A fork as it lies in the evidence folder: both signed checkpoints, which prove it to anybody. */
const evidenceFile = z.object({
  /** When it was found, by the node's clock. */
  at: timestamp,
  held: note,
  offered: note,
  reason: ownText,
});

const releaseFile = z.object({ at: timestamp, reason: ownText });

/** A fork that nobody has released yet. */
export interface StandingFork extends z.infer<typeof evidenceFile> {
  /** Name of its file in the evidence folder, without `.json`. */
  readonly id: string;
}

export interface Release extends z.infer<typeof releaseFile> {
  /** The fork it is about. */
  readonly id: string;
}

/**
 * Where a fork is kept until a person has looked at it. While one stands, the agent sends nothing, cosigns nothing and obeys
 * no order.
 *
 * Durability: `keep` resolves when evidence file and entry are on disk. When it rejects the fork stands all the same, and
 * `keep` may be called again for what is missing.
 */
export interface ForkDesk {
  readonly standing: StandingFork | undefined;
  keep(fork: ForkStatement): Promise<void>;
  /** Looks whether somebody released the fork that stands, and puts that on record. @returns whether none stands now. */
  settle(heldSize: number): Promise<boolean>;
}

export interface ForkDeskOptions {
  readonly dataDir: string;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly logger: Logger;
}

const stateKey = 'witness.fork';

/**
 * The desk of a data directory. A fork stands when its evidence file has no release beside it, or when the journal says
 * so: either of the two survives what may happen to the other.
 */
export async function openForkDesk({ dataDir, journal, clock, logger }: ForkDeskOptions): Promise<ForkDesk> {
  const dir = evidenceDir(dataDir);
  let standing = (await marked(journal)) ?? (await unreleasedForks(dataDir))[0];
  let [filed, recorded] = [false, (await journal.state(stateKey)).has(stateKey)];
  if (standing !== undefined) logger.error('witness.fork_stands', { evidence: standing.id, reason: standing.reason });

  async function file(fork: StandingFork): Promise<void> {
    if (filed) return;
    const { id, ...evidence } = fork;
    await makeFolder(dir);
    await writeDurably(join(dir, `${id}.json`), `${JSON.stringify(evidence, null, 2)}\n`);
    filed = true;
  }

  async function record({ id, at, ...body }: StandingFork): Promise<void> {
    if (recorded) return;
    await journal.append([{ kind: 'witness.fork', body }], [{ key: stateKey, value: { id, at, ...body } }]);
    recorded = true;
  }

  async function keepAll(fork: StandingFork): Promise<void> {
    const outcomes = await Promise.allSettled([file(fork), record(fork)]);
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed !== undefined) throw toAppError(failed.reason);
  }

  return {
    get standing() {
      return standing;
    },
    keep: async ({ body }) => {
      if (standing === undefined) {
        const at = rfc3339(clock.now());
        standing = { id: `fork-${at.replaceAll(':', '')}`, at, ...body };
        [filed, recorded] = [false, false];
      }
      await keepAll(standing);
    },
    settle: async (heldSize) => {
      if (standing === undefined) return true;
      const release = await readRelease(dataDir, standing.id);
      if (release === undefined) {
        await keepAll(standing);
        return false;
      }
      const body = { evidence: standing.id, heldSize, reason: release.reason };
      // The entry and the end of the mark are one write: after a crash it is told now or was told before.
      await journal.append([{ kind: 'witness.released', body }], [{ key: stateKey, value: undefined }]);
      logger.warn('witness.released', body);
      standing = (await unreleasedForks(dataDir))[0];
      recorded = false;
      filed = true;
      return standing === undefined;
    },
  };
}

/** Folder of the evidence files below the agent's data directory. */
export function evidenceDir(dataDir: string): string {
  return join(dataDir, 'evidence');
}

/** Forks in the evidence folder without a release, oldest first. Changes nothing. */
export async function unreleasedForks(dataDir: string): Promise<StandingFork[]> {
  const names = await evidenceFiles(dataDir);
  const ids = names
    .filter((name) => /^fork-[0-9TZ.-]+\.json$/.test(name))
    .map((name) => name.slice(0, -'.json'.length));
  const forks: StandingFork[] = [];
  for (const id of ids.sort()) {
    if (names.includes(`${id}${releaseSuffix}`)) continue;
    forks.push({ id, ...(await readEvidence(join(evidenceDir(dataDir), `${id}.json`))) });
  }
  return forks;
}

async function evidenceFiles(dataDir: string): Promise<string[]> {
  try {
    return await readdir(evidenceDir(dataDir));
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return [];
    throw cause;
  }
}

/**
 * Releases a fork: what `sigilwatch-agent witness release` does. Whoever may write here may act as this node anyway. The
 * agent, running or started later, puts it on record and goes on.
 */
export async function releaseFork(dataDir: string, { id, ...release }: Release): Promise<void> {
  await writeDurably(join(evidenceDir(dataDir), id + releaseSuffix), `${JSON.stringify(release, null, 2)}\n`);
}

/** What cannot be read is a fork all the same: damage must not be a way to be trusted again. */
async function readEvidence(path: string): Promise<z.infer<typeof evidenceFile>> {
  try {
    return await readJson(path, evidenceFile);
  } catch (thrown) {
    const reason = clip(toAppError(thrown).message);
    return { at: rfc3339(0), held: '', offered: '', reason };
  }
}

const releaseSuffix = '.released.json';

async function readRelease(dataDir: string, id: string): Promise<z.infer<typeof releaseFile> | undefined> {
  const path = join(evidenceDir(dataDir), id + releaseSuffix);
  try {
    return await readJson(path, releaseFile);
  } catch (thrown) {
    if (thrown instanceof AppError && errnoOf(thrown.cause) === 'ENOENT') return undefined;
    throw thrown;
  }
}

async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T> {
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    throw new AppError(
      'state.conflict',
      `${path} cannot be read as evidence (${toAppError(cause).message.slice(0, 200)})`,
      {
        cause,
      },
    );
  }
}

/** The mark that went into the journal with the entry. */
async function marked(journal: Journal): Promise<StandingFork | undefined> {
  const value = (await journal.state(stateKey)).get(stateKey);
  const parsed = evidenceFile.extend({ id: z.string().regex(/^fork-[0-9TZ.-]+$/) }).safeParse(value);
  return parsed.success ? parsed.data : undefined;
}
