import { type Document, isAlias, isMap, isNode, isScalar, isSeq, type Pair, type YAMLMap } from 'yaml';
import type { z } from 'zod';
import type { AppError } from '../errors.ts';
import { manifestError, type Place, placeAt, type Source, type YamlPath } from '../manifest-source.ts';
import { nearest } from '../nearest.ts';

/** Merge keys in maps that are merged themselves; deeper ones are not followed. */
const maxMergeDepth = 20;

/**
 * The first mistake that a schema found, at its place in the text. An unknown key says more than what is missing because of
 * it: `imag` rather than the absent `image`. `knownKeys` are for "did you mean".
 */
export function mistake(source: Source, error: z.ZodError, knownKeys: readonly string[]): AppError {
  const { issues } = error;
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
  const path = issue?.path.filter((key) => typeof key !== 'symbol') ?? [];
  if (issue?.code !== 'unrecognized_keys') return refused(source, path, issue?.message ?? 'not a manifest', error);
  const unknown = issue.keys[0] ?? '';
  const missing = issues.flatMap((other) => other.path.slice(-1)).filter((name) => typeof name === 'string');
  const meant = nearest(unknown, [...missing, ...knownKeys]);
  const reason = `unknown key "${unknown}"${meant === undefined ? '' : `; is it "${meant}"?`}`;
  return refused(source, path, reason, error, [...path, unknown]);
}

/** What is wrong with the value at `path`, which is named in the reason; `at` is where it stands if that is elsewhere. */
export function refused(source: Source, path: YamlPath, reason: string, cause?: unknown, at = path): AppError {
  const where = path.length === 0 ? '' : `${path.join('.')}: `;
  return manifestError(source.file, placeOf(source, at), `${where}${reason}`, cause);
}

/**
 * Where a path stands in the text: its key if it has one, else the nearest thing around it. Aliases and merge keys are
 * followed to where the value is written.
 */
export function placeOf(source: Source, path: YamlPath): Place {
  return follow(source, path).place;
}

/** Whether what stands at a path is written as a list. */
export function isListAt(source: Source, path: YamlPath): boolean {
  return isSeq(resolved(source.document, follow(source, path).node));
}

function follow({ document, lines }: Source, path: YamlPath): { readonly place: Place; readonly node: unknown } {
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
