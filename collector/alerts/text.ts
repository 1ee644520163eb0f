import { rfc3339 } from '../../common/clock.ts';
import { printable, printableLines } from '../../common/printable.ts';
import { type AlertItem, type AlertNotice, worstOf } from './alert.ts';
import { runbookOf } from './catalog.ts';
import {
  type AlertPlaceholder,
  defaultTemplates,
  type MessageTemplates,
  type SeveralPlaceholder,
} from './message-templates.ts';
import { fill, type TemplateValues } from './template.ts';

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
export function fitted(text: string, maxChars: number, escaped: Escape): string {
  // Nobody needs to look at more of it than could fit.
  return cut(printable(text.slice(0, maxChars + 1).replace(/[\t\r\n]+/g, ' ')), text.length > maxChars, {
    maxChars,
    escaped,
  });
}

/** As {@link fitted}, with the lines of a template; its values have one each. */
export function fittedLines(text: string, maxChars: number, escaped: Escape): string {
  return cut(printableLines(text.slice(0, maxChars + 1)), text.length > maxChars, { maxChars, escaped });
}

type Escape = (character: string) => string;

/** @param isMore whether there was more than `text`. */
function cut(text: string, isMore: boolean, { maxChars, escaped }: { maxChars: number; escaped: Escape }): string {
  const room = maxChars - ellipsis.length;
  let taken = '';
  let atCut = '';
  for (const character of text) {
    const next = escaped(character);
    if (taken.length + next.length > maxChars) return `${atCut}${ellipsis}`;
    taken += next;
    if (taken.length <= room) atCut = taken;
  }
  return isMore ? `${atCut}${ellipsis}` : taken;
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

/** What is around an alert in its message. */
export type AlertSurroundings = Pick<AlertNotice, 'origin' | 'runbookUrl'>;

/** The title of one alert, such as `CRITICAL: enforcement.frozen on node1`. Foreign text, not escaped, and never blank. */
export function headlineOf(item: AlertItem, around: AlertSurroundings, templates: MessageTemplates): string {
  return filled('title', valuesOf(item, around), templates);
}

/** What an alert says: its summary, and why it is over where it is. Foreign text, not escaped, with lines, and never blank. */
export function bodyOf(item: AlertItem, around: AlertSurroundings, templates: MessageTemplates): string {
  return filled('body', valuesOf(item, around), templates);
}

/** What comes with the program says something whatever there is to say; of others nobody knows. */
function filled(name: 'title' | 'body', values: TemplateValues<AlertPlaceholder>, templates: MessageTemplates): string {
  return orElse(fill(templates[name], values), () => fill(defaultTemplates[name], values));
}

function orElse(text: string, other: () => string): string {
  return text === '' ? other() : text;
}

function valuesOf(item: AlertItem, { origin, runbookUrl }: AlertSurroundings): TemplateValues<AlertPlaceholder> {
  const { change, severity, node, key, summary, reason, raisedAtMs, resolvedAtMs, index } = item;
  const runbook = runbookOf(key, runbookUrl);
  return {
    ...{ state: stateOf(item), alert: conditionOf(item), meaning: runbook?.title ?? conditionOf(item) },
    ...{ severity, node, key, summary: summary.trim() === '' ? 'no summary' : summary },
    reason: change === 'resolved' ? reason : null,
    since: rfc3339(raisedAtMs),
    until: resolvedAtMs === null ? null : rfc3339(resolvedAtMs),
    index: index === null ? null : String(index),
    ...{ runbook: runbook?.place ?? null, origin },
  };
}

/** One line for a whole notice; a test says so first, whatever the templates say. */
export function titleOf(notice: AlertNotice, templates: MessageTemplates): string {
  const { items, isTest } = notice;
  const [first] = items;
  const mark = isTest ? 'TEST ' : '';
  if (first !== undefined && items.length === 1) return `${mark}${headlineOf(first, notice, templates)}`;
  const values = valuesOfSeveral(notice);
  return `${mark}${orElse(fill(templates.several, values), () => fill(defaultTemplates.several, values))}`;
}

function valuesOfSeveral({ items, origin }: AlertNotice): TemplateValues<SeveralPlaceholder> {
  const standing = items.filter(({ change }) => change !== 'resolved');
  const over = items.length - standing.length;
  const worst = worstOf(standing.map(({ severity }) => severity)).toUpperCase();
  const parts = [
    ...(standing.length > 0
      ? [`${standing.length} ${standing.length === 1 ? 'alert' : 'alerts'}, worst ${worst}`]
      : []),
    ...(over > 0 ? [`${over} resolved`] : []),
  ];
  return {
    ...{ tally: parts.join(', '), total: String(items.length), origin },
    standing: standing.length === 0 ? null : String(standing.length),
    resolved: over === 0 ? null : String(over),
    worst: standing.length === 0 ? null : worst,
  };
}

/** Since when, until when, and where it is on record. Text of ours. */
export function factsOf({ raisedAtMs, resolvedAtMs, index }: AlertItem): string {
  const until = resolvedAtMs === null ? '' : ` until ${rfc3339(resolvedAtMs)}`;
  return `since ${rfc3339(raisedAtMs)}${until}${index === null ? '' : `, ledger entry ${index}`}`;
}
