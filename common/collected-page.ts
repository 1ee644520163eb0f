import type { CollectedReport, CollectedStore } from './collected-report.ts';
import { findingItem, leads } from './integrity-page.ts';
import { type ComparedTable, type LedgerCheck, ledgerFindings } from './ledger-check.ts';
import { badge, escaped, grouped, reportPage, shownBytes, shownTime } from './report-html.ts';

/** A report as the collector has it, as one HTML page for a person. */
export function collectedPage(report: CollectedReport): string {
  const { id, author, status, startedAt, finishedAt, stores, ledger, composed } = report;
  const facts: [string, string][] = [
    ['author', author],
    ['started', shownTime(startedAt)],
    ['finished', shownTime(finishedAt)],
    ...(ledger === null ? [['stores', String(stores.length)] satisfies [string, string]] : []),
    ['findings', grouped(foundBy(report))],
    ['report', id],
    ...(composed === null ? [] : [['entry', String(composed.index)] satisfies [string, string]]),
  ];
  return reportPage({
    ...{ subject: ledger === null ? `Sigil integrity of ${author}` : `Integrity of the ledger ${ledger.origin}` },
    ...{ status, lead: ledger === null ? leads[status] : ledgerLeads[status], facts },
    sections: [
      ...(composed === null ? [] : [origin(composed.sha256)]),
      ...(ledger === null ? [storeTable(stores)] : [ledgerSection(ledger)]),
      ...stores.map((store) => storeSection(store, startedAt)),
    ],
  });
}

/** All that a report has found, listed or not. */
export function foundBy({ stores, ledger }: Pick<CollectedReport, 'stores' | 'ledger'>): number {
  const inStores = stores.reduce((sum, { findings, moreFindings }) => sum + findings.length + moreFindings, 0);
  return inStores + (ledger === null ? 0 : ledgerFindings(ledger));
}

const ledgerLeads: typeof leads = {
  ok: 'Every entry was verified, and what is shown of the fleet is what the entries say.',
  findings: 'Everything was read. What is listed below is not what was put on record.',
  unchecked:
    'Some of it could not be checked, and nothing is known of that. What was found in the rest is listed below.',
};

function origin(sha256: string | null): string {
  const archived =
    sha256 === null ? 'The author could not archive a report.' : `The author’s own report has the SHA-256 ${sha256}.`;
  const text = `Composed of the entry and of the findings that stood in the ledger at that moment. ${archived}`;
  return `<p class="lead">${escaped(text)}</p>`;
}

function storeTable(stores: readonly CollectedStore[]): string {
  const rows = stores.map(({ store, status, counts, ...found }) => {
    const numbers = [found.findings.length + found.moreFindings, counts?.sigils, counts?.records, counts?.blocks];
    const read = counts === null ? '–' : shownBytes(counts.bytes);
    return `<tr><th scope="row">${escaped(store)}</th><td>${badge(status)}</td>${cells([...numbers, counts?.tables].map(grouped))}${cells([read])}</tr>`;
  });
  return table(['store', 'status', 'findings', 'sigils', 'records', 'blocks', 'tables', 'read'], rows, 2);
}

function storeSection({ store, status, findings, moreFindings }: CollectedStore, startedAt: string): string {
  if (status === 'ok' && findings.length + moreFindings === 0) return '';
  const why =
    status === 'unchecked'
      ? '<p class="error">What kept it from being checked is in the report on the node, and in the node’s alerts.</p>'
      : '';
  const more = moreFindings === 0 ? '' : `<p>And ${grouped(moreFindings)} more, which are not listed.</p>`;
  const items = findings.map((finding) => findingItem(store, finding, startedAt)).join('\n');
  return `<section>\n<h2>${escaped(store)}</h2>\n${why}${items}${more}\n</section>`;
}

function ledgerSection({ verified, fault, projections, error }: LedgerCheck): string {
  return [
    error === null ? '' : `<p class="error">${escaped(`${error.message} (${error.code})`)}</p>`,
    fault === null ? '' : faultItem(fault),
    verified === null ? '' : `<h2>Entries</h2>${verifiedTable(verified)}`,
    projections === null ? '' : `<h2>Projections</h2>${projectionTable(projections.tables)}`,
    ...(projections?.tables ?? []).map(differencesOf),
  ].join('\n');
}

function faultItem({ fault, index, message }: NonNullable<LedgerCheck['fault']>): string {
  const where = index === null ? 'the ledger' : `entry ${index}`;
  const next = 'Touch nothing; docs/verification.md says what each fault means, and docs/recovery.md what to do.';
  return `<article><h3>${escaped(fault)}</h3><p>${escaped(`${where}: ${message}`)}. <span class="why">${next}</span></p></article>`;
}

function verifiedTable(verified: NonNullable<LedgerCheck['verified']>): string {
  const { size, authors, batches, tiles, erased, checkpoint, durationMs, root } = verified;
  const numbers = [size, authors, batches, tiles, erased, checkpoint ?? undefined].map(grouped);
  const names = ['in order', 'authors', 'batches', 'tiles', 'erased', 'contains checkpoint', 'took'];
  const rows = [`<tr>${cells([...numbers, `${grouped(durationMs)} ms`])}</tr>`];
  const shownRoot = root === null ? '' : `<p>Root <code>${escaped(root)}</code></p>`;
  return `${table(names, rows, 0)}${shownRoot}`;
}

function projectionTable(tables: readonly ComparedTable[]): string {
  const rows = tables.map(({ table: name, stored, rebuilt, differing }) => {
    return `<tr><th scope="row">${escaped(name)}</th>${cells([stored, rebuilt, differing].map(grouped))}</tr>`;
  });
  return table(['projection', 'stored', 'by the entries', 'differing'], rows, 1);
}

function differencesOf({ table: name, differing, rows }: ComparedTable): string {
  const items = rows.map(({ problem, key, index, columns }) => {
    const where = Object.entries(key).map(([column, value]) => `${column} = ${value ?? 'null'}`);
    const facts: [string, string][] = [
      ['row', where.join(', ')],
      ...(index === null ? [] : [['entry', String(index)] satisfies [string, string]]),
      ...columns.map(({ column, stored, rebuilt }): [string, string] => {
        return [column, `stored ${stored ?? 'null'}, by the entries ${rebuilt ?? 'null'}`];
      }),
    ];
    const shown = facts.map(([fact, value]) => {
      return `<div><dt>${escaped(fact)}</dt><dd><code>${escaped(value)}</code></dd></div>`;
    });
    return `<article><h3>${escaped(`${name}: ${problem}`)}</h3><dl>${shown.join('')}</dl></article>`;
  });
  const hidden = differing - rows.length;
  const more = hidden <= 0 ? '' : `<p>And ${grouped(hidden)} more rows of ${escaped(name)}.</p>`;
  return `${items.join('\n')}${more}`;
}

function cells(texts: readonly string[]): string {
  return texts.map((text) => `<td class="n">${text}</td>`).join('');
}

/** @param words columns that are no numbers, from the first one on. */
function table(names: readonly string[], rows: readonly string[], words: number): string {
  const head = names.map((name, at) => `<th scope="col"${at >= words ? ' class="n"' : ''}>${name}</th>`).join('');
  return `<div class="wide"><table><thead><tr>${head}</tr></thead><tbody>\n${rows.join('\n')}\n</tbody></table></div>`;
}
