import { createHash } from 'node:crypto';
import {
  findingsOf,
  type IntegrityReport,
  type IntegrityStatus,
  type ReportedFinding,
  type ReportedStore,
} from './integrity-report.ts';
import { printable } from './printable.ts';
import { restoreCommand } from './restore-command.ts';
import type { SigilFinding } from './sigil.ts';

/**
 * A report as one HTML page for a person: needs no script, loads nothing, and refuses to by its policy. Whatever comes from a
 * store passes {@link escaped}; the policy is what holds should that ever be forgotten.
 */
export function integrityPage(report: IntegrityReport): string {
  const { id, node, status, startedAt, finishedAt, eventSecrets, stores } = report;
  const found = stores.reduce((sum, store) => sum + findingsOf(store), 0);
  const facts: [string, string][] = [
    ['node', node],
    ['started', shownTime(startedAt)],
    ['finished', shownTime(finishedAt)],
    ['stores', String(stores.length)],
    ['findings', grouped(found)],
    ['report', id],
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${escaped(`Sigil integrity of ${node}: ${headings[status]}`)}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>Sigil integrity of ${escaped(node)} ${badge(status)}</h1>
<p class="lead">${escaped(leads[status])}</p>
<dl>${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${escaped(value)}</dd></div>`).join('')}</dl>
${eventSecrets === 0 ? `<p class="error">${noSecrets}</p>` : ''}
${storeTable(stores)}
${stores.map((store) => storeSection(store, startedAt)).join('\n')}
</main>
</body>
</html>
`;
}

const headings: Readonly<Record<IntegrityStatus, string>> = {
  ok: 'all in order',
  findings: 'something is wrong',
  unchecked: 'not all could be checked',
};

const leads: Readonly<Record<IntegrityStatus, string>> = {
  ok: 'Everything was read, and every check that was made has passed.',
  findings: 'Everything was read. What is listed below is not as its owner wrote it.',
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
  const { findings, moreFindings, error } = store;
  if (error === null && findingsOf(store) === 0) return '';
  const trouble = error === null ? '' : `<p class="error">${escaped(`${error.message} (${error.code})`)}</p>`;
  const more = moreFindings === 0 ? '' : `<p>And ${grouped(moreFindings)} more, which are not listed.</p>`;
  const items = findings.map((finding) => findingItem(store.store, finding, startedAt)).join('\n');
  return `<section>\n<h2>${escaped(store.store)}</h2>\n${trouble}${items}${more}\n</section>`;
}

function findingItem(store: string, finding: ReportedFinding, startedAt: string): string {
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
  const shown = rows.flatMap(([name, value]) =>
    value === null ? [] : [`<div><dt>${name}</dt><dd><code>${escaped(value)}</code></dd></div>`],
  );
  return `<article><h3>${escaped(check)}</h3><p>${escaped(detail)}. <span class="why">${escaped(meanings[check])}</span></p><dl>${shown.join('')}</dl></article>`;
}

function badge(status: IntegrityStatus): string {
  return `<span class="badge ${status}">${status}</span>`;
}

/** Text for element content and quoted attributes; what would reorder or hide it is replaced. */
function escaped(text: string): string {
  return printable(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function shownTime(timestamp: string): string {
  return `${timestamp.slice(0, 10)} ${timestamp.slice(11, 19)} UTC`;
}

function grouped(amount: number | undefined): string {
  return amount === undefined ? '–' : String(amount).replace(/\B(?=(\d{3})+$)/g, ' ');
}

function shownBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const unit = bytes === 0 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  return `${unit === 0 ? bytes : (bytes / 1024 ** unit).toFixed(1)} ${units[unit]}`;
}

const style = `
:root { color-scheme: light dark; --line: #d5d9df; --soft: #f4f6f8; --dim: #5b6470; --ok: #17693a; --bad: #a4161a; --odd: #8a5a00; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3a414b; --soft: #1e2329; --dim: #9aa4b1; --ok: #5fc98a; --bad: #ff8589; --odd: #e8b04a; }
}
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.5rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 0; color: var(--bad); }
p { margin: 0.5rem 0; }
.lead, .why, dt { color: var(--dim); }
.error { color: var(--odd); overflow-wrap: anywhere; }
.badge { font-size: 0.8rem; font-weight: 600; padding: 0.1rem 0.5rem; border: 1px solid; border-radius: 0.4rem; vertical-align: middle; }
.badge.ok { color: var(--ok); } .badge.findings { color: var(--bad); } .badge.unchecked { color: var(--odd); }
dl { display: flex; flex-wrap: wrap; gap: 0.25rem 2rem; margin: 1rem 0; }
dt { font-size: 0.8rem; } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.4rem 0.6rem; border-bottom: 1px solid var(--line); font-weight: normal; white-space: nowrap; }
thead th { color: var(--dim); font-size: 0.8rem; }
.n { text-align: right; }
article { border: 1px solid var(--line); border-radius: 0.5rem; background: var(--soft); padding: 0.9rem 1rem; margin: 0.75rem 0; break-inside: avoid; overflow-wrap: anywhere; }
article dl { display: block; margin: 0.5rem 0 0; }
article dl div { display: grid; grid-template-columns: 6.5rem 1fr; align-items: baseline; }
code { font: 0.85rem/1.5 ui-monospace, monospace; }
`;

/** Nothing but this very style: no script, no image, no frame, no form, from anywhere. */
const policy = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'; base-uri 'none'; form-action 'none'`;
