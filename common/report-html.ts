import { createHash } from 'node:crypto';
import type { IntegrityStatus } from './integrity-report.ts';
import { printable } from './printable.ts';

/* What the pages of integrity reports are made of. Whatever comes from elsewhere passes {@link escaped}. */

export interface PageContent {
  /** What was checked, as text. */
  readonly subject: string;
  readonly status: IntegrityStatus;
  readonly lead: string;
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** HTML. */
  readonly sections: readonly string[];
}

/**
 * One HTML page for a person: needs no script, loads nothing, and refuses to by its policy, which is what holds should escaping ever be
 * forgotten.
 */
export function reportPage({ subject, status, lead, facts, sections }: PageContent): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${pagePolicy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${escaped(`${subject}: ${headings[status]}`)}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${escaped(subject)} ${badge(status)}</h1>
<p class="lead">${escaped(lead)}</p>
<dl>${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${escaped(value)}</dd></div>`).join('')}</dl>
${sections.join('\n')}
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

export function badge(status: IntegrityStatus): string {
  return `<span class="badge ${status}">${status}</span>`;
}

/** Text for element content and quoted attributes; what would reorder or hide it is replaced. */
export function escaped(text: string): string {
  return printable(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

export function shownTime(timestamp: string): string {
  return `${timestamp.slice(0, 10)} ${timestamp.slice(11, 19)} UTC`;
}

export function grouped(amount: number | undefined): string {
  return amount === undefined ? '–' : String(amount).replace(/\B(?=(\d{3})+$)/g, ' ');
}

export function shownBytes(bytes: number): string {
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
code { font: 0.85rem/1.5 ui-monospace, monospace; white-space: pre-wrap; }
`;

/** Nothing but the given style: no script, no image, no frame, no form, from anywhere. */
export function policyOf(css: string): string {
  const hash = createHash('sha256').update(css).digest('base64');
  return `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
}

export const pagePolicy = policyOf(style);
