import { ownText } from './fields.ts';

/** Before a `*` stands at least the area of a condition, with its dot: `drift.*`, `node.silent/*`, `sigils.findings/node2/*`. */
const prefixPattern = /^[a-z][a-z0-9_-]*\.[^*]*\*$/;

/** Keys of alerts: one key as it is, or all that begin with what stands before a `*` at the end. Never all keys there are. */
export const alertPattern = ownText.refine(
  isAlertPattern,
  'the key of an alert, or the beginning of keys with a * at its end, such as node.silent/* or drift.*',
);

export function isAlertPattern(text: string): boolean {
  return text !== '' && (!text.includes('*') || prefixPattern.test(text));
}

/** Whether an alert with this key is meant. */
export function matchesPattern(pattern: string, key: string): boolean {
  return pattern.endsWith('*') ? key.startsWith(pattern.slice(0, -1)) : key === pattern;
}
