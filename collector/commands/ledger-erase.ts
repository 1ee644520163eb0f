import { rfc3339 } from '../../common/clock.ts';
import { decodeDecimal } from '../../common/encoding.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { systemClock } from '../clock.ts';
import type { CollectorSettings } from '../config.ts';
import type { ErasurePlan, ErasureReport, ErasureStep } from '../ledger/erasure/erasure.ts';
import type { ErasureLimit } from '../ledger/erasure/plan.ts';
import { createErasing, type Erasing } from '../wiring/erasing.ts';
import { type CommandContext, show, withLedger } from './context.ts';
import { progressBar, untilStopped } from './progress.ts';

export interface EraseOptions {
  readonly before?: string;
  readonly olderThan?: string;
  readonly to?: string;
  /** `false` for `--no-export`. */
  readonly export?: string | false;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly reason?: string;
}

interface EraseResult {
  /** Whether anything was dropped by this run. */
  readonly erased: boolean;
  readonly dry_run: boolean;
  readonly from: number | null;
  /** Index after the last entry that goes. */
  readonly to: number | null;
  readonly entries: number;
  readonly partitions: number;
  readonly bytes: number;
  readonly kept_bodies: number;
  /** When the first and the last of them were received. */
  readonly first_received_at: string | null;
  readonly last_received_at: string | null;
  /** The entry that says so. */
  readonly index: number | null;
  readonly exported: { readonly file: string; readonly sha256: string; readonly entries: number } | null;
  /** An erasure that an earlier run had put on record and not carried out: its entry, and where it ends. */
  readonly finished: { readonly index: number; readonly to: number } | null;
}

/** Drops the bodies of old entries; without `--yes` it only shows which, and its exit code is 2. */
export async function ledgerErase(context: CommandContext, options: EraseOptions): Promise<number> {
  const { limit, reason } = readLimit(options);
  const { exportTo, where } = exportOf(context.settings, options);
  let exitCode: number = exitCodes.done;
  await withLedger(context, async (data) => {
    const erasing = createErasing(context.settings, data);
    if (options.dryRun === true || options.yes !== true) {
      const plan = await erasing.plan(limit);
      const unfinished = await erasing.unfinished();
      const result = resultOf({ plan, report: undefined, finished: unfinished });
      show(context, { ...result, dry_run: true }, () => formatPlan(result, where));
      // Without either nobody has decided anything yet.
      const idle = plan === undefined && unfinished === undefined;
      if (options.dryRun !== true && !idle) exitCode = unconfirmed(context);
      return;
    }
    const report = await erase(context, erasing, { limit, reason: options.reason ?? reason, exportTo });
    const result = resultOf({ plan: report.erased, report, finished: report.finished });
    show(context, result, formatDone);
  });
  return exitCode;
}

function erase(
  context: CommandContext,
  erasing: Erasing,
  request: { limit: ErasureLimit; reason: string; exportTo: string | undefined },
): Promise<ErasureReport> {
  const { stderr } = context;
  const bars = new Map<ErasureStep, (done: number, of: number) => void>();
  const barOf = (step: ErasureStep) => {
    const known = bars.get(step) ?? untilStopped(context, progressBar(stderr, `entries (${step})`));
    bars.set(step, known);
    return known;
  };
  const clear = () => progressBar(stderr, '')(1, 1);
  return erasing
    .erase({ ...request, actor: 'ledger erase', onProgress: (step, done, of) => barOf(step)(done, of) })
    .finally(clear);
}

function unconfirmed({ stderr }: CommandContext): number {
  stderr.write('nothing was erased: say --yes to do it, or --dry-run to only look\n');
  return exitCodes.usage;
}

const day = 86_400_000;
const units: Readonly<Record<string, number>> = { d: day, h: 3_600_000, m: 60_000 };

function readLimit({ before, olderThan, to }: EraseOptions): { limit: ErasureLimit; reason: string } {
  if (before === undefined && olderThan === undefined && to === undefined) {
    throw new AppError('validation.request', 'say what is to go: --before TIME, --older-than 365d or --to INDEX');
  }
  const times = [
    ...(before === undefined ? [] : [readTime(before)]),
    ...(olderThan === undefined ? [] : [systemClock.now() - readAge(olderThan)]),
  ];
  const beforeMs = times.length === 0 ? undefined : Math.min(...times);
  const toIndex = to === undefined ? undefined : decodeDecimal(to);
  if (to !== undefined && toIndex === undefined) throw new AppError('validation.request', `"${to}" is not an index`);
  const reasons = [
    ...(beforeMs === undefined ? [] : [`received before ${rfc3339(beforeMs)}`]),
    ...(toIndex === undefined ? [] : [`index below ${toIndex}`]),
  ];
  return { limit: { beforeMs, toIndex }, reason: reasons.join(', ') };
}

function readTime(text: string): number {
  const ms = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
  if (!Number.isNaN(ms)) return ms;
  throw new AppError(
    'validation.request',
    `--before "${text}" is not a time such as 2026-01-31 or 2026-01-31T12:00:00Z`,
  );
}

function readAge(text: string): number {
  const [, count = '', unit = ''] = /^([1-9]\d{0,5})([dhm])$/.exec(text) ?? [];
  const unitMs = units[unit];
  if (unitMs !== undefined) return Number(count) * unitMs;
  throw new AppError('validation.request', `--older-than "${text}" is not an age such as 365d, 12h or 90m`);
}

/** What was said, else what the settings say. */
function exportOf({ ledger }: CollectorSettings, options: EraseOptions) {
  const said = options.export;
  const exportTo = said === false ? undefined : (said ?? ledger.retentionExport);
  return { exportTo, where: exportTo === undefined ? 'without an export' : `after an export to ${exportTo}` };
}

interface Outcome {
  readonly plan: ErasurePlan | undefined;
  readonly report: ErasureReport | undefined;
  readonly finished: { readonly index: number; readonly to: number } | undefined;
}

function resultOf({ plan, report, finished }: Outcome): EraseResult {
  const time = (ms: number | null | undefined) => (ms === null || ms === undefined ? null : rfc3339(ms));
  return {
    erased: report?.erased !== undefined || (report !== undefined && finished !== undefined),
    dry_run: false,
    from: plan?.from ?? null,
    to: plan?.to ?? null,
    entries: plan === undefined ? 0 : plan.to - plan.from,
    partitions: plan?.partitions ?? 0,
    bytes: plan?.bytes ?? 0,
    kept_bodies: plan?.keptBodies ?? 0,
    first_received_at: time(plan?.firstMs),
    last_received_at: time(plan?.lastMs),
    index: report?.erased?.index ?? null,
    exported: report?.erased?.exported ?? null,
    finished: finished === undefined ? null : { index: finished.index, to: finished.to },
  };
}

function formatPlan(result: EraseResult, where: string): string {
  const { finished } = result;
  const first =
    finished === null
      ? ''
      : `first: entry ${finished.index} says that the bodies before ${finished.to} are erased, which is still to be done\n`;
  if (result.from === null) return `${first}nothing to erase: no whole partition of entries lies within that limit\n`;
  return `${first}would erase ${spanText(result)}\n${where}\n`;
}

function formatDone(result: EraseResult): string {
  const { finished, exported, index } = result;
  const first =
    finished === null
      ? ''
      : `finished the erasure that entry ${finished.index} tells of: bodies before ${finished.to}\n`;
  if (result.from === null) return `${first}nothing to erase: no whole partition of entries lies within that limit\n`;
  const file = exported === null ? 'not exported\n' : `exported to ${exported.file}, SHA-256 ${exported.sha256}\n`;
  return `${first}erased ${spanText(result)}\n${file}entry ${index} says so; hashes and proofs stay\n`;
}

function spanText({ from, to, entries, partitions, bytes, kept_bodies, ...received }: EraseResult): string {
  const mib = (bytes / 1024 / 1024).toFixed(1);
  const times =
    received.first_received_at === null
      ? ''
      : `\n  received from ${received.first_received_at} to ${received.last_received_at}`;
  return [
    `bodies of ${entries} entries, ${from} to ${(to ?? 0) - 1}: ${partitions} partitions, ${mib} MiB`,
    `  ${kept_bodies} bodies of them stay (enrolments, revocations, erasures, the creation)${times}`,
  ].join('\n');
}
