import { enforcementPolicy } from '../../common/enforcement/policy.ts';
import { wantedIn } from '../../common/enforcement/wanted.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { containersOn } from '../../common/manifest/compile.ts';
import { printable } from '../../common/printable.ts';
import { systemClock } from '../clock.ts';
import { readAdopted } from '../desired/follower.ts';
import { fsManifestStore } from '../desired/fs-manifest-store.ts';
import type { ManifestInForce, OperatorPorts } from '../enforcement/operator.ts';
import type { SignerFiles } from '../enforcement/ssh-keygen.ts';
import { createOperating, witnessedIn } from '../operating.ts';
import { postgresEnforcementStore } from '../postgres/enforcement-store.ts';
import type { Db } from '../postgres/pool.ts';
import { type CommandContext, stderrLogger, withCollectorData, withLedger } from './context.ts';
import { type Contradicted, contradictionOf } from './contradicted.ts';

/** What commands that only look at enforcement get. */
export interface Looking extends Pick<OperatorPorts, 'store' | 'clock' | 'manifest' | 'witnessedSize'> {
  readonly db: Db;
  readonly nowMs: number;
  readonly contradicted: Contradicted | undefined;
}

/** Looks at the database of the collector, running or not, and says aloud when it is not the one that was published. */
export function lookAtEnforcement<T>(context: CommandContext, work: (looking: Looking) => Promise<T>): Promise<T> {
  return withCollectorData(context, async (data) => {
    const contradicted = await contradictionOf(context, data);
    const manifest = await manifestInForce(context);
    const { db } = data.database;
    const store = postgresEnforcementStore(db);
    const now = { clock: systemClock, nowMs: systemClock.now() };
    return work({ db, store, contradicted, ...now, manifest: () => manifest, witnessedSize: witnessedIn(db) });
  });
}

/**
 * Carries out an operator's wish on the ledger of the collector, running or not.
 * @param allowedSigners path; without it, that of the settings.
 */
export function operate<T>(
  context: CommandContext,
  { allowedSigners }: { readonly allowedSigners?: string | undefined },
  work: (ports: OperatorPorts, db: Db) => Promise<T>,
): Promise<T> {
  return withLedger(context, async ({ ledger, database }) => {
    const manifest = await manifestInForce(context);
    const { db } = database;
    const signers = signersFor(context, allowedSigners);
    const needs = { db, ledger, clock: systemClock, manifest: () => manifest, signers };
    return work(createOperating(needs), db);
  });
}

/** Whose signatures count: a file that is named stands for the one of the settings, and what is revoked stays so. */
export function signersFor({ settings }: CommandContext, allowedSigners: string | undefined): SignerFiles {
  return { ...settings.manifest, ...(allowedSigners !== undefined && { allowedSigners }) };
}

/**
 * What the collector has adopted, running or not, with its compose files: HEAD may be a commit with a mistake, or one that no node has
 * been told of yet. Undefined when it never has, or follows no repository; said aloud when what it keeps cannot be read.
 */
export async function manifestInForce({ settings, stderr }: CommandContext): Promise<ManifestInForce | undefined> {
  if (settings.manifest.repository === undefined) return undefined;
  const kept = await fsManifestStore(settings.dataDir, stderrLogger(stderr)).load();
  try {
    const adopted = kept === undefined ? undefined : readAdopted(kept);
    if (adopted === undefined) return undefined;
    const { commit, manifest } = adopted;
    return { commit, policy: enforcementPolicy(manifest), wanted: wantedIn(containersOn(manifest)) };
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'validation.manifest') throw thrown;
    stderr.write(`warning: the manifest in force cannot be read: ${printable(thrown.message)}\n`);
    return undefined;
  }
}

/** How many rows a list shows. @throws AppError `validation.request`. */
export function requireLimit(text: string | undefined): number {
  if (text === undefined) return limits.pageSizeDefault;
  const value = /^[1-9][0-9]{0,8}$/.test(text) ? Number(text) : Number.NaN;
  if (value <= limits.pageSizeMax) return value;
  throw new AppError('validation.request', `--limit ${text}: a number from 1 to ${limits.pageSizeMax}`);
}

/** One of the words, or undefined when none is given. @throws AppError `validation.request`. */
export function requireWord<W extends string>(
  option: string,
  words: readonly W[],
  text: string | undefined,
): W | undefined {
  if (text === undefined) return undefined;
  const word = words.find((known) => known === text);
  if (word !== undefined) return word;
  throw new AppError('validation.request', `${option} ${text}: one of ${words.join(', ')}`);
}

/** Spread over lists that were cut. */
export function moreLine(more: boolean): string {
  return more ? 'there are more; --limit shows them, up to 1000\n' : '';
}
