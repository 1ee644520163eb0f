import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { AppError, errnoOf } from '../../common/errors.ts';
import type { AgentSettings } from '../config.ts';
import { CommitCache } from '../desired/cache.ts';
import { DesiredFolder, withFolder } from '../desired/folder.ts';
import { judge } from '../desired/judge.ts';
import { localBundle, stageBundle } from '../desired/staging.ts';
import { trustOf } from '../sources.ts';
import { requireDataDir } from './data-dir.ts';

export interface Imported {
  readonly commit: string;
  readonly signer: string | null;
  /** The commit that was in force. */
  readonly before: string | null;
  /** False when that commit is in force already: there was nothing to do. */
  readonly handed_over: boolean;
  /** How long a running agent may take to look, in milliseconds. */
  readonly within_ms: number;
}

/**
 * Judges a bundle as the agent will, so that what is wrong with it is said here and now, and leaves it where the agent looks
 * with its next scan. The agent judges again: it alone knows what is in force by then.
 * @throws AppError `validation.request` when there is no such file; what `stageBundle` and `judge` refuse; `state.busy`.
 */
export async function importBundle(settings: AgentSettings, file: string, nowMs: number): Promise<Imported> {
  const { dataDir, manifest, scanIntervalMs } = settings;
  await requireDataDir(dataDir);
  const path = resolve(file);
  const found = await stat(path).catch((cause: unknown) => {
    throw new AppError('validation.request', `${file} cannot be read (${errnoOf(cause)})`, { cause });
  });
  if (!found.isFile()) throw new AppError('validation.request', `${file} is not a file: name the bundle itself`);
  const folder = new DesiredFolder(dataDir);
  const cache = new CommitCache(dataDir);
  const shown = await folder.shown();
  const before = shown?.adopted?.commit ?? (await cache.head())?.commit;
  const { commit, signer } = await withFolder(join(tmpdir(), 'sigilwatch-'), async (scratch) => {
    const staged = await stageBundle(path, { folder: scratch, name: file, cache, bound: localBundle });
    const standard = {
      inForce: before,
      requiresSignedCommits: shown?.adopted?.requiresSignedCommits === true,
      trust: trustOf(manifest),
      released: (await folder.release(shown?.usedRelease ?? null))?.commit,
    };
    return judge(staged, standard, scratch);
  });
  const isNew = commit !== shown?.adopted?.commit;
  if (isNew) await folder.bring(path, nowMs);
  return { commit, signer, before: before ?? null, handed_over: isNew, within_ms: scanIntervalMs };
}

/** For a person. */
export function formatImported({ commit, signer, before, handed_over, within_ms }: Imported): string {
  if (!handed_over) return `${commit} is in force already\n`;
  const lines = [
    `handed over: ${commit}${signer === null ? '' : `, signed by ${signer}`}`,
    `in force until then: ${before ?? 'nothing'}`,
    `A running agent looks within ${Math.ceil(within_ms / 1000)} s; then: sigilwatch-agent desired show`,
  ];
  return `${lines.join('\n')}\n`;
}
