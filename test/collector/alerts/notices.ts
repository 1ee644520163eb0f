import type { AlertItem, AlertNotice } from '../../../collector/alerts/alert.ts';

const raisedAtMs = Date.parse('2026-03-01T10:00:00.000Z');

/** One alert that was raised a minute ago. */
export function itemWith(fields: Partial<AlertItem> = {}): AlertItem {
  return {
    key: 'enforcement.daily_limit/node1',
    change: 'raised',
    severity: 'error',
    previousSeverity: null,
    summary: 'the daily limit of node1 is used up',
    node: 'node1',
    raisedAtMs,
    resolvedAtMs: null,
    reason: null,
    index: 41,
    ...fields,
  };
}

export function resolvedItem(fields: Partial<AlertItem> = {}): AlertItem {
  return itemWith({
    change: 'resolved',
    resolvedAtMs: raisedAtMs + 30_000,
    reason: 'nothing is held up any more',
    ...fields,
  });
}

export function noticeOf(items: readonly AlertItem[], fields: Partial<AlertNotice> = {}): AlertNotice {
  return { id: 'a1b2c3', sentAtMs: Date.now(), origin: 'example.org/ledger', isTest: false, items, ...fields };
}

/** What whoever names containers would try. */
export const hostileTexts: readonly string[] = [
  '<!channel> <@U123> <https://evil.example|click> & &amp; *bold* `code` ~no~',
  '@everyone @here <@1> <@&2> <#3> <:x:1> [click](https://evil.example) # big\n> quote ||spoiler|| https://evil.example',
  'subject\r\nBcc: everybody@example.org\r\n\r\nbody\r\n.\r\nMAIL FROM:<x@y>',
  '.\n..\n-- \nFrom me',
  '\u0000\u0007\u001b[2J\u202egnp.exe\u2028next\ud800',
  '&'.repeat(5_000),
  '<'.repeat(5_000),
  '\\`*_'.repeat(2_000),
  '🧨'.repeat(3_000),
  'ä'.repeat(3_000),
  '',
  ' ',
];
