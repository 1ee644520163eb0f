import {
  findingsOf,
  type IntegrityReport,
  type IntegrityStatus,
  type RecordsInPlace,
  type ReportedFinding,
  type ReportedStore,
} from './integrity-report.ts';
import { badge, escaped, grouped, reportPage, shownBytes, shownTime } from './report-html.ts';
import { restoreCommand, restoreCommandInPlace } from './restore-command.ts';
import type { SigilFinding } from './sigil.ts';

/** A node's report as one HTML page for a person. */
export function integrityPage(report: IntegrityReport): string {
  const { id, node, status, startedAt, finishedAt, eventSecrets, stores } = report;
  const found = stores.reduce((sum, store) => sum + findingsOf(store), 0);
  return reportPage({
    ...{ subject: `Sigil integrity of ${node}`, status, lead: leads[status] },
    facts: [
      ['node', node],
      ['started', shownTime(startedAt)],
      ['finished', shownTime(finishedAt)],
      ['stores', String(stores.length)],
      ['findings', grouped(found)],
      ['report', id],
    ],
    sections: [
      eventSecrets === 0 ? `<p class="error">${noSecrets}</p>` : '',
      storeTable(stores),
      ...stores.map((store) => storeSection(store, startedAt)),
    ],
  });
}

export const leads: Readonly<Record<IntegrityStatus, string>> = {
  ok: 'Everything was read, and every check that was made has passed.',
  findings: 'Everything was looked at. What is listed below is not as its owner wrote it, or cannot be read any more.',
  unchecked: 'Some of it could not be read, and nothing is known of that. What was found in the rest is listed below.',
};

const noSecrets =
  'Signatures were not verified, only that there are some: the agent has no event secret (setting sigils.secrets).';

/** What a failed check means, for somebody who has to decide what to do about it. */
const meanings: Readonly<Record<SigilFinding['check'], string>> = {
  encoding: 'The bytes are not text: they were damaged, or another program wrote them.',
  json: 'The record cannot be parsed, so no program can read it.',
  schema: 'A member of the record has the wrong form.',
  required_field: 'The record lacks what every sigil has.',
  key_value_agreement: 'The record says that it belongs under another key: it was moved or copied.',
  tenant_isolation: 'The record belongs to another tenant than its key.',
  checksum: 'The data is not what its checksum was made over.',
  signature: 'The record is not signed with a current event secret: changed, forged, or left over from an old one.',
  vanished:
    'A sigil that was here at an earlier full check is not any more. Sigils are not deleted: it was lost, or somebody removed it.',
  rolled_back:
    'An older version of the record stands where a newer one was: a backup was brought back, or a write was undone.',
  duplicate:
    'The same sigil, by its id, stands under an old and a new key, and a program may read either: a migration was not finished, or was undone.',
  block_checksum: 'Bytes of a table changed on the disk. The records in the key range may be lost or wrong.',
  block_format: 'A block of a table cannot be decoded. The records in the key range cannot be read.',
  table_format: 'A table is cut off, or its index is damaged.',
  log_checksum: 'Bytes of the log changed on the disk. The latest writes may be lost or wrong.',
  log_format: 'The log has a form that the store does not write.',
  manifest: 'The list of the store’s files is damaged.',
  file_missing: 'A file that the store needs is gone.',
  file_unreadable: 'The disk refuses to read a file.',
  heap_corrupt: 'PostgreSQL finds rows of the table damaged on its disk. They may be lost or wrong.',
  index_corrupt:
    'An index does not fit its table, so queries may miss rows or find wrong ones; reindexing may mend it.',
};

function storeTable(stores: readonly ReportedStore[]): string {
  const names = ['store', 'status', 'findings', 'sigils', 'records', 'blocks', 'tables', 'read', 'took', 'records/s'];
  const head = names.map((name, at) => `<th scope="col"${at > 1 ? ' class="n"' : ''}>${name}</th>`).join('');
  const rows = stores.map(({ counts, rates, ...store }) => {
    const numbers = [
      grouped(findingsOf({ counts, rates, ...store })),
      ...[counts?.sigils, counts?.records, counts?.blocks, counts?.tables].map(grouped),
      counts === null ? '–' : shownBytes(counts.bytes),
      `${grouped(store.durationMs)} ms`,
      grouped(rates?.recordsPerSecond),
    ];
    const cells = numbers.map((text) => `<td class="n">${text}</td>`).join('');
    return `<tr><th scope="row">${escaped(store.store)}</th><td>${badge(store.status)}</td>${cells}</tr>`;
  });
  return `<div class="wide"><table><thead><tr>${head}</tr></thead><tbody>\n${rows.join('\n')}\n</tbody></table></div>`;
}

function storeSection(store: ReportedStore, startedAt: string): string {
  const { findings, moreFindings, error, resumed } = store;
  if (error === null && resumed == null && findingsOf(store) === 0) return '';
  const before =
    resumed == null
      ? ''
      : `<p>This check went on with one that was begun ${escaped(shownTime(resumed.startedAt))} and cut short: ${grouped(resumed.records)} of the records were read before.</p>`;
  const trouble = error === null ? '' : `<p class="error">${escaped(`${error.message} (${error.code})`)}</p>`;
  const more = moreFindings === 0 ? '' : `<p>And ${grouped(moreFindings)} more, which are not listed.</p>`;
  const items = findings.map((finding) => findingItem(store.store, finding, startedAt)).join('\n');
  return `<section>\n<h2>${escaped(store.store)}</h2>\n${before}${trouble}${items}${more}\n</section>`;
}

/** One finding, as HTML. */
export function findingItem(store: string, finding: ReportedFinding, startedAt: string): string {
  const { check, key, keyRange, file, offset, expected, actual, detail, firstSeen, lastGood, id } = finding;
  const rows: [string, string | null][] = [
    ['key', key],
    ['file', file === null || offset === null ? file : `${file}, byte ${offset}`],
    ['keys from', keyRange === null ? null : keyRange.from],
    ['keys to', keyRange === null ? null : keyRange.to],
    ['expected', expected],
    ['actual', actual],
    ['first seen', firstSeen === startedAt ? `${shownTime(firstSeen)}, by this run` : shownTime(firstSeen)],
    ['last good', lastGood == null ? null : `${shownTime(lastGood.at)}, snapshot ${lastGood.snapshot}`],
    ['restore it', restoreCommand(store, finding)],
    ['finding', id],
  ];
  return `<article><h3>${escaped(check)}</h3><p>${escaped(detail)}. <span class="why">${escaped(meanings[check])}</span></p>${valueList(rows)}${placeRecords(store, finding)}</article>`;
}

function valueList(rows: readonly (readonly [name: string, value: string | null])[]): string {
  const shown = rows.flatMap(([name, value]) =>
    value === null ? [] : [`<div><dt>${name}</dt><dd><code>${escaped(value)}</code></dd></div>`],
  );
  return `<dl>${shown.join('')}</dl>`;
}

/** Which records were in a bad place, and how each is brought back. */
function placeRecords(store: string, finding: ReportedFinding): string {
  const { records } = finding;
  if (records === undefined) return '';
  if (records === null) return '<p>No kept snapshot says which records are there, so there is no copy to restore.</p>';
  if (records.by === 'inventory') return placeSigils(records);
  const { keys, isWhole, at, snapshot } = records;
  const items = keys.map(({ key, lastGood }, nth) => {
    const good = lastGood === null ? 'in no snapshot' : `${shownTime(lastGood.at)}, snapshot ${lastGood.snapshot}`;
    const command = restoreCommandInPlace(store, finding, nth);
    return `<li>${valueList([
      ['key', key],
      ['last good', good],
      ['restore it', command],
    ])}</li>`;
  });
  const said = `Records there, by the snapshot of ${escaped(shownTime(at))} (${escaped(snapshot ?? '')}):`;
  const none = keys.length === 0 && isWhole ? ' none.' : '';
  return `<p>${said}${none}</p><ol>${items.join('\n')}</ol>${moreOf(records)}`;
}

/** Which sigils lie in a bad place that no snapshot has. */
function placeSigils(records: RecordsInPlace): string {
  const { keys, at, isWhole } = records;
  const by = `Sigils there, by the inventory of ${escaped(shownTime(at))}`;
  if (keys.length === 0 && isWhole)
    return `<p>${by}: none, all that it has in this range can be read in other places.</p>`;
  const items = keys.map(({ key, updatedAt }) => {
    return `<li>${valueList([
      ['key', key],
      ['updated', updatedAt ?? null],
    ])}</li>`;
  });
  const advice = 'No kept snapshot can be read there, so bring them back from the application or a backup';
  return `<p>${by}. ${advice}:</p><ol>${items.join('\n')}</ol>${moreOf(records)}`;
}

function moreOf({ moreKeys, isWhole }: RecordsInPlace): string {
  return isWhole && moreKeys === 0 ? '' : `<p>And ${isWhole ? '' : 'at least '}${grouped(moreKeys)} more.</p>`;
}
