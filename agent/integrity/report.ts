import { rfc3339 } from '../../common/clock.ts';
import {
  type IntegrityReport,
  type LastGood,
  type RecordsInPlace,
  type ReportedStore,
  worstStatus,
} from '../../common/integrity-report.ts';
import { limits } from '../../common/limits.ts';
import { printable } from '../../common/printable.ts';
import type { SigilFinding } from '../../common/sigil.ts';
import { countsSince, noCounts } from '../sigils/scan-counts.ts';
import type { ReportArchive } from './archive.ts';
import { checkStatus, type StoreCheck } from './store-check.ts';

/** One run over some stores of a node. Times are Unix milliseconds. */
export interface IntegrityRun {
  readonly id: string;
  readonly node: string;
  readonly startedMs: number;
  readonly finishedMs: number;
  readonly checks: readonly StoreCheck[];
  /** How many there were to check signatures with. */
  readonly eventSecrets: number;
}

/** What is known of findings beside themselves, by their ids. */
export interface KnownBefore extends GoodCopies {
  /** RFC 3339; what is not in it was seen first by this run. */
  readonly firstSeen: ReadonlyMap<string, string>;
}

/** What snapshots and inventories have, by the ids of findings. */
export interface GoodCopies {
  /** Of the record that a finding is of. */
  readonly lastGood: ReadonlyMap<string, LastGood>;
  /** Of the records in the bad place that a finding is of; null when nothing can say, nothing when none was asked. */
  readonly records: ReadonlyMap<string, RecordsInPlace | null>;
}

export const nothingKnown: KnownBefore = { firstSeen: new Map(), lastGood: new Map(), records: new Map() };

/** Asks for good copies of a store's records, and looks into so many bad places for it. Never rejects. */
export type FindGoodCopies = (
  store: string,
  findings: readonly SigilFinding[],
  maxPlaces: number,
) => Promise<GoodCopies>;

/** @throws the file system's error */
export async function knownBefore(
  checks: readonly StoreCheck[],
  archive: Pick<ReportArchive, 'firstSeen'>,
  findGoodCopies: FindGoodCopies,
): Promise<KnownBefore> {
  const firstSeen = await archive.firstSeen(checks.flatMap(({ findings }) => findings.map(({ id }) => id)));
  const lastGood = new Map<string, LastGood>();
  const records = new Map<string, RecordsInPlace | null>();
  for (const { store, findings } of checks) {
    const listed = findings.slice(0, sharedBy(checks, limits.maxReportFindings));
    const copies = await findGoodCopies(store, listed, sharedBy(checks, limits.maxPlacesWithKeys));
    for (const entry of copies.lastGood) lastGood.set(...entry);
    for (const entry of copies.records) records.set(...entry);
  }
  return { firstSeen, lastGood, records };
}

export function reportOf(run: IntegrityRun, known: KnownBefore): IntegrityReport {
  const { id, node, startedMs, checks, eventSecrets } = run;
  const startedAt = rfc3339(startedMs);
  // A clock that was set back meanwhile must not make the report contradict itself.
  const finishedAt = rfc3339(Math.max(startedMs, run.finishedMs));
  const listed = sharedBy(checks, limits.maxReportFindings);
  const stores = checks.map((check) => storeOf(check, { ...known, listed, startedAt }));
  const status = worstStatus(stores.map((store) => store.status));
  return { version: 1, id, node, startedAt, finishedAt, status, eventSecrets, stores };
}

interface Listing extends KnownBefore {
  /** Findings that each store may list. */
  readonly listed: number;
  readonly startedAt: string;
}

/** What each store may have of what there is room for. */
function sharedBy(checks: readonly StoreCheck[], room: number): number {
  return Math.floor(room / Math.max(checks.length, 1));
}

function storeOf(check: StoreCheck, { listed, firstSeen, lastGood, records, startedAt }: Listing): ReportedStore {
  const { store, counts, findings, error, resumed } = check;
  const durationMs = Math.round(check.durationMs);
  // What was read before was read in another time.
  const read = counts && countsSince(resumed ?? noCounts, counts);
  const perSecond = (amount: number) => Math.round((amount * 1000) / Math.max(durationMs, 1));
  return {
    store,
    status: checkStatus(check),
    startedAt: check.startedAt,
    durationMs,
    counts,
    resumed: resumed && { startedAt: resumed.startedAt, records: resumed.records },
    rates: read && { recordsPerSecond: perSecond(read.records), bytesPerSecond: perSecond(read.bytes) },
    findings: findings.slice(0, listed).map((finding) => {
      const { id } = finding;
      const copies = { lastGood: lastGood.get(id) ?? null, ...(records.has(id) && { records: records.get(id) }) };
      return { ...finding, firstSeen: firstSeen.get(id) ?? startedAt, ...copies };
    }),
    moreFindings: check.moreFindings + Math.max(findings.length - listed, 0),
    error: error === undefined ? null : { code: error.code, message: shortened(error.message) },
  };
}

/** Paths are part of it, and whoever made the settings may have made them long. */
function shortened(message: string): string {
  return printable(message.slice(0, limits.maxOwnTextChars));
}
