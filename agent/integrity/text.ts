import { amount } from '../../common/amount.ts';
import {
  findingsOf,
  type IntegrityReport,
  type RecordsInPlace,
  type ReportedFinding,
  type ReportedStore,
} from '../../common/integrity-report.ts';
import { restoreCommand, restoreCommandInPlace } from '../../common/restore-command.ts';
import type { SigilFinding } from '../../common/sigil.ts';
import type { ScanCounts } from '../sigils/scan-counts.ts';

/** Of a report, or of a scan, which knows of nothing before itself. */
type ToldFinding = SigilFinding & Partial<Pick<ReportedFinding, 'firstSeen' | 'lastGood' | 'records'>>;

/** What is told of a store that was looked at. */
export interface StoreTold {
  readonly store: string;
  readonly counts: Pick<ScanCounts, 'records' | 'sigils' | 'blocks'>;
  readonly durationMs: number;
  readonly findings: readonly ToldFinding[];
  readonly moreFindings: number;
}

/** A line about the store, and one or two for each finding. */
export function storeLines({ store, counts, durationMs, findings, moreFindings }: StoreTold): string[] {
  const { records, sigils, blocks } = counts;
  const found = findings.length + moreFindings;
  const lines = findings.flatMap((finding) => {
    const { check, key, keyRange, file, offset, detail, firstSeen, lastGood } = finding;
    const place = key ?? `${file ?? ''}${offset === null ? '' : `:${offset}`}`;
    const since = firstSeen === undefined ? '' : `, first seen ${firstSeen}`;
    const range = keyRange === null ? [] : [`    keys from ${keyRange.from} to ${keyRange.to}`];
    const reported = firstSeen === undefined ? null : { ...finding, firstSeen };
    const command = reported && restoreCommand(store, reported);
    const good = lastGood == null ? '' : `, last good ${lastGood.at}`;
    const restore = command === null ? [] : [`    restore it: ${command}`];
    return [
      `  ${check}  ${place}  ${detail}${since}${good}`,
      ...range,
      ...restore,
      ...(reported === null ? [] : placeLines(store, reported)),
    ];
  });
  const more = moreFindings === 0 ? [] : [`  and ${moreFindings} more, which are not listed`];
  return [
    `store ${store}: ${amount(records, 'record')} (${amount(sigils, 'sigil')}), ${amount(blocks, 'block')} in ${Math.round(durationMs)} ms: ${amount(found, 'finding')}`,
    ...lines,
    ...more,
  ];
}

/** Which records were in a bad place, and how each is brought back. */
function placeLines(store: string, finding: ReportedFinding): string[] {
  const { records } = finding;
  if (records === undefined) return [];
  if (records === null) return ['    no kept snapshot says which records are there, so there is no copy to restore'];
  if (records.by === 'inventory') return inventoryLines(records);
  const lines = records.keys.flatMap(({ key, lastGood }, nth) => {
    const command = restoreCommandInPlace(store, finding, nth);
    const good = lastGood === null ? 'no good copy' : `last good ${lastGood.at}`;
    return [`      ${key}, ${good}`, ...(command === null ? [] : [`        restore it: ${command}`])];
  });
  return [`    records there, by the snapshot of ${records.at}:`, ...lines, ...moreLines(records)];
}

/** Which sigils lie in a bad place that no snapshot has. */
function inventoryLines(records: RecordsInPlace): string[] {
  const { keys, at, isWhole } = records;
  const by = `    sigils there, by the inventory of ${at}`;
  if (keys.length === 0 && isWhole) return [`${by}: none, all that it has in this range can be read in other places`];
  const lines = keys.map(
    ({ key, updatedAt }) => `      ${key}${updatedAt === undefined ? '' : `, updated ${updatedAt}`}`,
  );
  const advice = 'no kept snapshot can be read there, so bring them back from the application or a backup';
  return [`${by}; ${advice}:`, ...lines, ...moreLines(records)];
}

function moreLines({ keys, moreKeys, isWhole }: RecordsInPlace): string[] {
  if (isWhole) return moreKeys > 0 ? [`      and ${moreKeys} more`] : keys.length === 0 ? ['      none'] : [];
  return [`      and at least ${moreKeys} more`];
}

/** A report for a person, on a terminal. */
export function formatReport(report: IntegrityReport): string {
  const { id, node, startedAt, status, eventSecrets, stores } = report;
  const lines = stores.flatMap((store) => {
    const { counts, error } = store;
    const trouble = error === null ? [] : [`could not check store ${store.store}: ${error.message} (${error.code})`];
    if (counts !== null) return [...storeLines({ ...store, counts }), ...resumedLine(store), ...trouble];
    const standing = findingsOf(store);
    return standing === 0
      ? trouble
      : [...trouble, `  ${amount(standing, 'finding')} ${standing === 1 ? 'stands' : 'stand'} from before`];
  });
  const unverified =
    eventSecrets === 0 ? ['signatures were not verified: there is no event secret (sigils.secrets)'] : [];
  return `${[`node ${node}, ${startedAt}: ${status} (report ${id})`, ...lines, ...unverified].join('\n')}\n`;
}

function resumedLine({ resumed }: ReportedStore): string[] {
  if (resumed == null) return [];
  return [
    `  gone on with the check that was begun ${resumed.startedAt}: ${resumed.records} of the records were read before`,
  ];
}

/** The archive as a list, newest first. */
export function formatReports(reports: readonly IntegrityReport[]): string {
  if (reports.length === 0) return 'no reports yet\n';
  const width = Math.max(...reports.map(({ status }) => status.length));
  const lines = reports.map((report) => {
    const { id, node, status, stores } = report;
    const found = stores.reduce((sum, store) => sum + findingsOf(store), 0);
    return `${id}  ${status.padEnd(width)}  node ${node}, ${amount(stores.length, 'store')}, ${amount(found, 'finding')}`;
  });
  return `${lines.join('\n')}\n`;
}
