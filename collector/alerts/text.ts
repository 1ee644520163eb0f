import { rfc3339 } from '../../common/clock.ts';
import { printable } from '../../common/printable.ts';
import { type AlertItem, type AlertNotice, worstOf } from './alert.ts';

const ellipsis = '…';

/** One line of foreign text: without control characters, and cut to `maxChars` UTF-16 units with a mark where it was cut. */
export function oneLine(text: string, maxChars: number): string {
  return fitted(text, maxChars, (character) => character);
}

/**
 * Foreign text as one line in somebody's markup, never longer than `maxChars` UTF-16 units with everything that escaping adds, and never
 * cut inside an escape.
 * @param escaped what stands for one character.
 */
export function fitted(text: string, maxChars: number, escaped: (character: string) => string): string {
  // Nobody needs to look at more of it than could fit.
  const characters = [...printable(text.slice(0, maxChars + 1).replace(/[\t\r\n]+/g, ' '))];
  const room = maxChars - ellipsis.length;
  let taken = '';
  let atCut = '';
  for (const character of characters) {
    const next = escaped(character);
    if (taken.length + next.length > maxChars) return `${atCut}${ellipsis}`;
    taken += next;
    if (taken.length <= room) atCut = taken;
  }
  return text.length > maxChars ? `${atCut}${ellipsis}` : taken;
}

/** The condition behind a key: `enforcement.frozen` of `enforcement.frozen/4f2a`. */
export function conditionOf({ key }: Pick<AlertItem, 'key'>): string {
  const [condition = ''] = key.split('/', 1);
  return oneLine(condition, maxConditionChars) || 'alert';
}

const maxConditionChars = 80;

/** What happened, in a few words: `CRITICAL`, `STILL CRITICAL`, `RESOLVED`. */
export function stateOf({ change, severity }: Pick<AlertItem, 'change' | 'severity'>): string {
  if (change === 'resolved') return 'RESOLVED';
  return change === 'repeated' ? `STILL ${severity.toUpperCase()}` : severity.toUpperCase();
}

/** `CRITICAL: enforcement.frozen on node1`. */
export function headlineOf(item: AlertItem): string {
  return `${stateOf(item)}: ${conditionOf(item)}${item.node === null ? '' : ` on ${item.node}`}`;
}

/** One line for a whole notice; a test says so first. */
export function titleOf({ items, isTest }: AlertNotice): string {
  const [first] = items;
  const mark = isTest ? 'TEST ' : '';
  if (first !== undefined && items.length === 1) return `${mark}${headlineOf(first)}`;
  const standing = items.filter(({ change }) => change !== 'resolved');
  const over = items.length - standing.length;
  const worst = worstOf(standing.map(({ severity }) => severity)).toUpperCase();
  const parts = [
    ...(standing.length > 0
      ? [`${standing.length} ${standing.length === 1 ? 'alert' : 'alerts'}, worst ${worst}`]
      : []),
    ...(over > 0 ? [`${over} resolved`] : []),
  ];
  return `${mark}${parts.join(', ')}`;
}

/** What an alert says: its summary, and why it is over where it is. Foreign text, not escaped, and never blank. */
export function bodyOf({ change, summary, reason }: AlertItem): string {
  const what = summary.trim() === '' ? 'no summary' : summary;
  return change === 'resolved' && reason !== null ? `${reason} (it was: ${what})` : what;
}

/** Since when, until when, and where it is on record. Text of ours. */
export function factsOf({ raisedAtMs, resolvedAtMs, index }: AlertItem): string {
  const until = resolvedAtMs === null ? '' : ` until ${rfc3339(resolvedAtMs)}`;
  return `since ${rfc3339(raisedAtMs)}${until}${index === null ? '' : `, ledger entry ${index}`}`;
}
