import { isMap, isSeq } from 'yaml';
import { plainValue, readSource } from '../../common/manifest/source.ts';
import { printable } from '../../common/printable.ts';
import { isPlainObject } from '../../common/settings/schema.ts';

/**
 * A manifest with a comment above items of its `containers`, by their names. An item that does not begin a line gets none, and
 * nothing changes but for the comments.
 */
export function withRemarks(text: string, remarks: ReadonlyMap<string, string>): string {
  if (remarks.size === 0) return text;
  const source = readSource(text, '');
  const plain = plainValue(source);
  const list = source.document.get('containers', true);
  const items: unknown = plain.ok && isPlainObject(plain.value) ? plain.value.containers : undefined;
  if (!isSeq(list) || list.flow || !Array.isArray(items)) return text;
  const newline = text.includes('\r\n') ? '\r\n' : '\n';
  // From the end, so that what is above keeps its place.
  return [...list.items.entries()].reverse().reduce((before, [i, node]) => {
    const item: unknown = items[i];
    const remark = isPlainObject(item) && typeof item.name === 'string' ? remarks.get(item.name) : undefined;
    const start = isMap(node) ? node.range?.[0] : undefined;
    if (remark === undefined || start === undefined) return before;
    const lineAt = text.lastIndexOf('\n', start - 1) + 1;
    const lead = text.slice(lineAt, start);
    if (!/^\s*- +$/.test(lead)) return before;
    const indent = lead.slice(0, lead.indexOf('-'));
    return `${before.slice(0, lineAt)}${indent}# ${printable(remark)}${newline}${before.slice(lineAt)}`;
  }, text);
}
