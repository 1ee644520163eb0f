import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  type LineCounter,
  type Pair,
  type YAMLMap,
} from 'yaml';

/** Counted from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Something wrong with a manifest, complete enough to be corrected. Quotes keys, never values. */
export interface Mistake extends Place {
  readonly file: string;
  readonly reason: string;
}

export type YamlPath = readonly (string | number)[];

/** A text taken apart. */
export interface Parsed {
  readonly document: Document.Parsed;
  readonly lines: LineCounter;
}

/** Merge keys in maps that are merged themselves; deeper ones are not followed. */
const maxMergeDepth = 20;

export function placeAt(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return { line, column: col };
}

/**
 * Where a path stands in the text: its key if it has one, else the nearest thing around it. Aliases and merge keys are
 * followed to where the value is written.
 */
export function placeOf(source: Parsed, path: YamlPath): Place {
  return follow(source, path).place;
}

/** Whether what stands at a path is written as a list. */
export function isListAt(source: Parsed, path: YamlPath): boolean {
  return isSeq(resolved(source.document, follow(source, path).node));
}

function follow({ document, lines }: Parsed, path: YamlPath): { readonly place: Place; readonly node: unknown } {
  let place: Place = { line: 1, column: 1 };
  let node: unknown = document.contents;
  for (const step of path) {
    const whole = resolved(document, node);
    const pair = isMap(whole) ? pairOf(document, whole, String(step), maxMergeDepth) : undefined;
    const item = isSeq(whole) && typeof step === 'number' ? whole.items[step] : undefined;
    const stands = pair?.key ?? item;
    if (!isNode(stands)) return { place, node: undefined };
    if (stands.range) place = placeAt(lines, stands.range[0]);
    node = pair === undefined ? item : pair.value;
  }
  return { place, node };
}

function resolved(document: Document.Parsed, node: unknown): unknown {
  return isAlias(node) ? node.resolve(document) : node;
}

/** The pair that gives a map its key: its own, else that of the first merged map that has it. */
function pairOf(document: Document.Parsed, map: YAMLMap, key: string, depth: number): Pair | undefined {
  const own = map.items.find((pair) => isScalar(pair.key) && !isMergeKey(pair) && String(pair.key.value) === key);
  if (own !== undefined || depth === 0) return own;
  for (const { value } of map.items.filter(isMergeKey)) {
    const merged = resolved(document, value);
    for (const item of isSeq(merged) ? merged.items : [merged]) {
      const from = resolved(document, item);
      const found = isMap(from) ? pairOf(document, from, key, depth - 1) : undefined;
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** With merging switched on, the library reads `<<` as a symbol. */
function isMergeKey({ key }: Pair): boolean {
  return isScalar(key) && typeof key.value === 'symbol';
}
