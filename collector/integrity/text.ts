import { amount } from '../../common/amount.ts';
import type { CollectedReport, CollectedStore } from '../../common/collected-report.ts';
import type { LedgerCheck } from '../../common/ledger-check.ts';
import { printable } from '../../common/printable.ts';
import { foundIn } from './report.ts';

/** A report for a person, on a terminal. What comes from elsewhere is one line and moves no cursor. */
export function formatCollected({ id, author, startedAt, status, composed, stores, ledger }: CollectedReport): string {
  const from = composed === null ? [] : [`composed of entry ${composed.index} and the findings that stood then`];
  const lines = ledger === null ? stores.flatMap(storeLines) : ledgerLines(ledger);
  return `${[`${author}, ${startedAt}: ${status} (report ${id})`, ...from, ...lines].map(printable).join('\n')}\n`;
}

function storeLines({ store, status, counts, findings, moreFindings }: CollectedStore): readonly string[] {
  const read =
    counts === null
      ? ''
      : `, ${amount(counts.records, 'record')} (${amount(counts.sigils, 'sigil')}), ${amount(counts.blocks, 'block')}`;
  const lines = findings.flatMap(({ check, key, keyRange, file, offset, detail, firstSeen }) => {
    const place = key ?? `${file ?? ''}${offset === null ? '' : `:${offset}`}`;
    const range = keyRange === null ? [] : [`    keys from ${keyRange.from} to ${keyRange.to}`];
    return [`  ${check}  ${place}  ${detail}, first seen ${firstSeen}`, ...range];
  });
  const more = moreFindings === 0 ? [] : [`  and ${amount(moreFindings, 'finding')} not listed`];
  return [`store ${store}: ${status}${read}: ${amount(findings.length + moreFindings, 'finding')}`, ...lines, ...more];
}

function ledgerLines(check: LedgerCheck): readonly string[] {
  const { origin, verified, projections, error } = check;
  const rows = (projections?.tables ?? []).flatMap(({ table, rows: differing }) =>
    differing.flatMap(({ problem, key, index, columns }) => {
      const named = Object.entries(key).map(([column, value]) => `${column}=${value ?? 'null'}`);
      const changes = columns.map(({ column, stored, rebuilt }) => {
        return `    ${column}: stored ${stored ?? 'null'}, by the entries ${rebuilt ?? 'null'}`;
      });
      return [`  ${table} ${named.join(' ')} is ${problem}${index === null ? '' : ` (entry ${index})`}`, ...changes];
    }),
  );
  return [
    ...(verified === null ? [] : [verifiedLine(origin, verified)]),
    ...(verified?.checkpoint === null ? ['no checkpoint kept outside the database was at hand'] : []),
    ...(projections === null
      ? []
      : [
          `${amount(projections.tables.length, 'projection')} rebuilt from ${amount(projections.size - projections.from, 'entry', 'entries')}`,
        ]),
    ...foundIn(check).map((found) => `FOUND: ${found}`),
    ...rows,
    ...(error === null ? [] : [`NOT CHECKED: ${error.message} (${error.code})`]),
  ];
}

function verifiedLine(origin: string, verified: NonNullable<LedgerCheck['verified']>): string {
  const { size, authors, batches, tiles, durationMs } = verified;
  return `ledger ${origin}: ${amount(size, 'entry', 'entries')} of ${amount(authors, 'author')} in order, ${amount(batches, 'batch', 'batches')}, ${amount(tiles, 'tile')} (${durationMs} ms)`;
}
