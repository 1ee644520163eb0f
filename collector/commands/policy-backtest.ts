import { decodeDecimal } from '../../common/encoding.ts';
import { announcementNamespace } from '../../common/enforcement/announcement.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { limits } from '../../common/limits.ts';
import { readCommitted } from '../../common/manifest/committed.ts';
import { parseManifestFiles } from '../../common/manifest/files.ts';
import { type BacktestNeeds, type BacktestResult, backtest } from '../backtest/backtest.ts';
import type { ManifestAt } from '../backtest/ports.ts';
import { systemClock } from '../clock.ts';
import { gitRepository } from '../desired/git.ts';
import { createAnnouncements } from '../enforcement/announcements.ts';
import type { VerifyAnnouncement } from '../enforcement/desk-ports.ts';
import { sshSignatures } from '../enforcement/ssh-keygen.ts';
import { withBacktestView } from '../postgres/backtest-store.ts';
import {
  type CommandContext,
  type OpenCollectorData,
  requireNodeName,
  show,
  stderrLogger,
  withCollectorData,
} from './context.ts';
import { contradictedField, contradictionOf } from './contradicted.ts';
import { checkPath, tellMistakes } from './manifest-check.ts';
import { formatBacktest } from './policy-backtest-text.ts';
import { progressBar, untilStopped } from './progress.ts';

export interface BacktestOptions {
  readonly manifest: string;
  readonly days?: string;
  readonly node?: string;
  readonly released?: boolean;
}

/** What the rules of a manifest that is not committed yet would have done. Reads only. */
export async function policyBacktest(context: CommandContext, options: BacktestOptions): Promise<number> {
  const days = requireDays(options.days ?? String(limits.defaultBacktestDays));
  const only = options.node === undefined ? undefined : requireNodeName(options.node);
  const { file, checked } = await checkPath(options.manifest);
  if (!checked.ok) {
    tellMistakes(context, file, checked.mistakes);
    return exitCodes.findings;
  }
  const wish = { manifest: checked.manifest, days, only, released: options.released === true };
  const contradicted = await withCollectorData(context, async (data) => {
    const found = await contradictionOf(context, data);
    const result = await replay(context, data, wish);
    show(context, { ...result, ...contradictedField(found) }, () => formatBacktest(result));
    return found;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

interface Wish extends Pick<BacktestNeeds, 'manifest' | 'only' | 'released'> {
  readonly days: number;
}

async function replay(
  context: CommandContext,
  { database, keys }: OpenCollectorData,
  { days, ...wish }: Wish,
): Promise<BacktestResult> {
  const { settings, stderr } = context;
  const toMs = systemClock.now();
  const check = sshSignatures(settings.manifest, announcementNamespace);
  const verify: VerifyAnnouncement = async (text, approval) => (await check(approval, text)).holds;
  const bar = progressBar(stderr, 'entries');
  const needs: BacktestNeeds = {
    ...{ ...wish, toMs },
    fromMs: Math.max(0, toMs - days * dayMs),
    collectorKey: keys.publicKey,
    manifestAt: committedManifests(settings.manifest.repository),
    announcements: createAnnouncements({ verify, logger: stderrLogger(stderr) }),
    onProgress: untilStopped(context, bar),
  };
  return withBacktestView(database.db, (view) => backtest(view, needs)).finally(() => bar(1, 1));
}

const dayMs = 86_400_000;

/** @throws AppError `validation.request`. */
function requireDays(text: string): number {
  const days = decodeDecimal(text);
  if (days !== undefined && days >= 1 && days <= limits.maxBacktestDays) return days;
  throw new AppError('validation.request', `--days ${text}: a number from 1 to ${limits.maxBacktestDays}`);
}

/** Manifests out of the repository that the settings name; none where they name none. */
function committedManifests(path: string | undefined): ManifestAt {
  if (path === undefined) return async () => undefined;
  const repository = gitRepository(path);
  return async (commit) => {
    // What a node says that it follows may be anything.
    if (!commitId.test(commit)) return undefined;
    try {
      return parseManifestFiles(await readCommitted(repository, commit));
    } catch (thrown) {
      if (thrown instanceof AppError && thrown.code === 'validation.manifest') return undefined;
      throw thrown;
    }
  };
}

const commitId = /^([0-9a-f]{40}|[0-9a-f]{64})$/;
