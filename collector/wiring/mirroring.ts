import { setTimeout as delay } from 'node:timers/promises';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { CollectorSettings } from '../config.ts';
import { writeNewFile } from '../data/new-file.ts';
import type { OpenDatabase } from '../database.ts';
import { type MirroredBatch, mirrorBatch, mirroredPaths } from '../ledger/export/mirror.ts';
import { type MirrorBranch, openMirrorBranch } from '../ledger/export/mirror-git.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { postgresExportSource } from '../postgres/export-store.ts';
import { type WitnessesBeside, witnessesBeside } from './witnessed.ts';

export interface MirroringNeeds {
  readonly database: OpenDatabase;
  readonly ledger: Ledger;
  readonly logger: Logger;
}

/** The mirror of the ledger in git. One at a time in a process; several processes take turns by the branch itself. */
export interface Mirroring {
  /**
   * Commits what is new, and pushes. Resolves with what was committed.
   * @throws AppError `state.conflict`, `ledger.tampered` or `validation.config`; a push that fails is only logged.
   */
  pass(signal?: AbortSignal): Promise<readonly MirroredBatch[]>;
  /** Passes on the interval, until the signal; failures are logged. */
  follow(signal: AbortSignal): Promise<void>;
}

/** Undefined when no repository is set. */
export function createMirroring(settings: CollectorSettings, needs: MirroringNeeds): Mirroring | undefined {
  const { repository, branch: name, intervalMs, remote } = settings.ledger.mirror;
  if (repository === undefined) return undefined;
  const { database, ledger, logger } = needs;
  const witnesses = witnessesBeside(settings, { database, ledger });
  let opened: MirrorBranch | undefined;
  let pushed: string | undefined;

  async function open(): Promise<MirrorBranch> {
    if (opened !== undefined) return opened;
    const branch = await openMirrorBranch({ repository: repository ?? '', branch: name });
    // A process that died between commit and work tree.
    if ((await branch.head()) !== undefined) await showFiles(branch, mirroredPaths, logger);
    opened = branch;
    return branch;
  }

  async function pass(signal?: AbortSignal): Promise<readonly MirroredBatch[]> {
    const branch = await open();
    const done: MirroredBatch[] = [];
    for (let more = true; more && signal?.aborted !== true; ) {
      const batch = await mirrorBatch({
        branch,
        source: postgresExportSource(database.db),
        prover: ledger,
        checkpointBeyond: (from) => witnesses.beyond(from),
        confront: (note) => ledger.confront(note),
        policy: () => policyOf(witnesses),
        writeFile: writeNewFile,
      });
      more = batch?.full === true;
      if (batch === undefined) break;
      done.push(batch);
      await showFiles(branch, batch.files, logger);
      logger.info('mirror.committed', { from: batch.from, to: batch.to, commit: batch.commit });
    }
    if (remote !== undefined) pushed = await push(branch, { remote, pushed, logger });
    return done;
  }

  return {
    pass,
    follow: async (signal) => {
      let told = '';
      while (!signal.aborted) {
        try {
          await pass(signal);
          told = '';
        } catch (thrown) {
          const { code, message } = toAppError(thrown);
          if (told !== message) logger.error('mirror.failed', { code, message });
          told = message;
        }
        await delay(intervalMs, undefined, { signal }).catch(() => {});
      }
    },
  };
}

/** @throws AppError `validation.config`. */
export function noMirror(): AppError {
  return new AppError('validation.config', 'there is no mirror: set ledger.mirror.repository to a folder for it');
}

async function policyOf({ published }: WitnessesBeside): Promise<string | undefined> {
  try {
    return await published.policy();
  } catch (thrown) {
    // While the quorum cannot be said, the policy of before stays.
    if (toAppError(thrown).code === 'state.conflict') return undefined;
    throw thrown;
  }
}

/** The commit is what counts; a work tree that somebody else has locked is caught up with later. */
async function showFiles(branch: MirrorBranch, paths: readonly string[], logger: Logger): Promise<void> {
  await branch.checkOut(paths).catch((thrown: unknown) => {
    logger.warn('mirror.not_checked_out', { message: toAppError(thrown).message.slice(0, limits.maxForeignTextChars) });
  });
}

/** @returns the commit that the remote is known to have. */
async function push(
  branch: MirrorBranch,
  { remote, pushed, logger }: { remote: string; pushed: string | undefined; logger: Logger },
): Promise<string | undefined> {
  const head = await branch.head();
  if (head === undefined || head === pushed) return pushed;
  try {
    await branch.push(remote);
    return head;
  } catch (thrown) {
    logger.warn('mirror.not_pushed', { message: toAppError(thrown).message });
    return pushed;
  }
}
