import { isCollection, isMap, isNode, isScalar, isSeq, type Pair, type Scalar, type YAMLMap, type YAMLSeq } from 'yaml';
import { type Written, yamlText } from './yaml-text.ts';

/** A piece of a text that something else takes the place of; nothing goes where `from` is `to`. */
export interface Cut {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/** The text with all its cuts; undefined when they overlap. What comes in ends its lines as the text does. */
export function spliced(text: string, cuts: readonly Cut[]): string | undefined {
  // Sorting is stable, so what comes in at the same place stays in order.
  const ordered = [...cuts].sort((a, b) => a.from - b.from);
  const newline = /\r\n/.test(text) ? '\r\n' : '\n';
  let result = '';
  let at = 0;
  for (const { from, to, text: piece } of ordered) {
    if (from < at) return undefined;
    result += text.slice(at, from) + piece.replaceAll('\n', newline);
    at = to;
  }
  return result + text.slice(at);
}

interface MapChange {
  readonly set: ReadonlyMap<string, Written>;
  readonly remove: readonly string[];
}

export function cutsOfMap(text: string, map: YAMLMap, { set, remove }: MapChange): Cut[] {
  const cuts: Cut[] = [];
  const added = new Map<string, Written>();
  for (const [key, value] of set) {
    const pair = ownPair(map, key);
    if (pair === undefined) added.set(key, value);
    else cuts.push(replacement(text, map, pair, value));
  }
  const gone = map.items.filter((pair) => remove.some((key) => pair === ownPair(map, key)));
  if (map.flow || map.items.length === 0) {
    const pieces = [...added].map(([key, value]) => yamlText(new Map([[key, value]]), 'flow').slice(1, -1));
    return [...cuts, ...flowCuts(map, { gone: gone.map((pair) => map.items.indexOf(pair)), pieces })];
  }
  const end = endOf(text, map);
  if (gone.length === map.items.length && added.size === 0) return [{ from: startOf(map), to: end, text: '{}\n' }];
  cuts.push(...gone.map((pair) => lines(text, startOf(pair.key), endOf(text, pair))));
  if (added.size === 0) return cuts;
  return [...cuts, pasted(text, end, indented(yamlText(added, 'block'), columnOf(text, map)))];
}

interface ListChange {
  readonly set: ReadonlyMap<number, Written>;
  readonly remove: readonly number[];
  readonly append: readonly Written[];
  /** The key whose value the list is, in a map that is a block. */
  readonly after: Scalar | undefined;
}

export function cutsOfList(text: string, list: YAMLSeq, { set, remove, append, after }: ListChange): Cut[] {
  const becomesBlock = list.items.length === 0 && after !== undefined && append.length > 0;
  if (becomesBlock) {
    const column = startOf(after) - lineStart(text, startOf(after)) + 2;
    const [from, to] = rangeOf(list);
    const spaces = text.slice(0, from).length - text.slice(0, from).trimEnd().length;
    return [
      { from: from - spaces, to, text: '' },
      pasted(text, nextLine(text, to), indented(yamlText(append, 'block'), column)),
    ];
  }
  const replaced = [...set].map(([i, value]): Cut => {
    const [from, to] = rangeOf(list.items[i]);
    return { from, to, text: yamlText(value, 'flow') };
  });
  if (list.flow || list.items.length === 0) {
    const pieces = append.map((value) => yamlText(value, 'flow'));
    return [...replaced, ...flowCuts(list, { gone: remove, pieces })];
  }
  const end = endOf(text, list);
  if (remove.length === list.items.length && append.length === 0)
    return [{ from: startOf(list), to: end, text: '[]\n' }];
  const removed = remove.map((i) => {
    const item = list.items[i];
    const { from, to } = lines(text, startOf(item), endOf(text, item));
    return { from: i === 0 ? from : withComments(text, from), to, text: '' };
  });
  const cuts = [...replaced, ...removed];
  if (append.length === 0) return cuts;
  const column = startOf(list) - lineStart(text, startOf(list));
  const apart = areApart(text, list);
  const blocks = append.map((item) => `${apart ? '\n' : ''}${indented(yamlText([item], 'block'), column)}`);
  return [...cuts, pasted(text, end, blocks.join(''))];
}

/** The pair that the map itself writes for a key. With merging switched on, the library reads `<<` as a symbol. */
export function ownPair(map: YAMLMap, key: string): Pair | undefined {
  return map.items.find(({ key: own }) => isScalar(own) && typeof own.value !== 'symbol' && String(own.value) === key);
}

function replacement(text: string, map: YAMLMap, { key, value: node }: Pair, value: Written): Cut {
  const written = yamlText(value, 'flow');
  const behindKey = text.indexOf(':', rangeOf(key)[1]) + 1;
  const [from, to] = rangeOf(node);
  if (from === to && typeof value === 'object' && !map.flow) {
    const block = indented(yamlText(value, 'block'), startOf(key) - lineStart(text, startOf(key)) + 2);
    return pasted(text, nextLine(text, behindKey), block);
  }
  if (from === to) return { from: behindKey, to: behindKey, text: ` ${written}` };
  const isBlock = (isCollection(node) && !node.flow) || (isScalar(node) && /^BLOCK/.test(node.type ?? ''));
  return isBlock ? { from: behindKey, to: endOf(text, node), text: ` ${written}\n` } : { from, to, text: written };
}

/** Items of a collection in brackets: `gone` by their indexes, and what is added behind the rest. */
function flowCuts(
  collection: YAMLMap | YAMLSeq,
  { gone, pieces }: { readonly gone: readonly number[]; readonly pieces: readonly string[] },
): Cut[] {
  const [from, to] = rangeOf(collection);
  const [open, close] = isMap(collection) ? ['{', '}'] : ['[', ']'];
  if (gone.length === collection.items.length) return [{ from, to, text: `${open}${pieces.join(', ')}${close}` }];
  const spans = collection.items.map((item) => [startOf(item), endInLine(item)] as const);
  const lastKept = spans.findLastIndex((_, i) => !gone.includes(i));
  const cuts = gone.map((i): Cut => {
    // Up to the next item, or from the end of the one that stays last.
    if (i < lastKept) return { from: spans[i]?.[0] ?? to, to: spans[i + 1]?.[0] ?? to, text: '' };
    return { from: spans[i - 1]?.[1] ?? from, to: spans[i]?.[1] ?? to, text: '' };
  });
  if (pieces.length === 0) return cuts;
  const end = spans.at(-1)?.[1] ?? from;
  return [...cuts, { from: end, to: end, text: `, ${pieces.join(', ')}` }];
}

function rangeOf(node: unknown): readonly [from: number, to: number] {
  return isNode(node) && node.range ? [node.range[0], node.range[1]] : [0, 0];
}

/** Of an item of a list, or a pair of a map, where its own text begins. */
function startOf(node: unknown): number {
  if (isPair(node)) return rangeOf(node.key)[0];
  return rangeOf(node)[0];
}

function endInLine(node: unknown): number {
  if (!isPair(node)) return rangeOf(node)[1];
  return Math.max(rangeOf(node.value)[1], rangeOf(node.key)[1]);
}

function isPair(node: unknown): node is Pair {
  return typeof node === 'object' && node !== null && 'key' in node && 'value' in node && !isNode(node);
}

/** Where the line after the last line of a node begins, what the node's last item has behind it included. */
function endOf(text: string, node: unknown): number {
  if (isPair(node)) return Math.max(endOf(text, node.value), endOf(text, node.key));
  if ((isMap(node) || isSeq(node)) && !node.flow && node.items.length > 0) return endOf(text, node.items.at(-1));
  const end = rangeOf(node)[1];
  return end > 0 && text[end - 1] === '\n' ? end : nextLine(text, end);
}

function nextLine(text: string, at: number): number {
  const newline = text.indexOf('\n', at);
  return newline === -1 ? text.length : newline + 1;
}

function lineStart(text: string, at: number): number {
  return text.lastIndexOf('\n', at - 1) + 1;
}

function columnOf(text: string, map: YAMLMap): number {
  const start = startOf(map.items[0]);
  return start - lineStart(text, start);
}

/** Whole lines. */
function lines(text: string, from: number, to: number): Cut {
  return { from: lineStart(text, from), to, text: '' };
}

/** Comments right above a line belong to it, and so does the empty line above them. */
function withComments(text: string, from: number): number {
  if (from === 0) return from;
  const above = lineStart(text, from - 1);
  const line = text.slice(above, from).trim();
  if (line.startsWith('#')) return withComments(text, above);
  return line === '' ? above : from;
}

/** Whether the items of a list have empty lines between them. */
function areApart(text: string, list: YAMLSeq): boolean {
  const [before, last] = list.items.slice(-2);
  return last !== undefined && /^\s*\n/.test(text.slice(endOf(text, before), lineStart(text, startOf(last))));
}

function pasted(text: string, at: number, lines: string): Cut {
  const isWhole = at === 0 || text[at - 1] === '\n';
  return { from: at, to: at, text: isWhole ? lines : `\n${lines.replace(/\n$/, '')}` };
}

function indented(text: string, columns: number): string {
  return text
    .split('\n')
    .map((line) => `${' '.repeat(columns)}${line}\n`)
    .join('');
}
