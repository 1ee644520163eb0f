import { type Document, isAlias, isMap, isScalar, isSeq, type Pair, type YAMLMap, type YAMLSeq } from 'yaml';
import { canonicalText, type JsonValue } from '../canonical.ts';
import { isPlainObject } from '../settings/schema.ts';
import { type Cut, cutsOfList, cutsOfMap, ownPair, spliced } from './cuts.ts';
import type { YamlPath } from './place.ts';
import { plainValue, readSource } from './source.ts';
import { asPlain } from './written.ts';
import type { Written } from './yaml-text.ts';

/** A change to one map or one list of a YAML file. A path leads there through what the file itself writes, through no alias. */
export type Edit = MapEdit | ListEdit;

export interface MapEdit {
  readonly kind: 'map';
  readonly path: YamlPath;
  /** Keys that get this value; those that are not there are added at the end. */
  readonly set: ReadonlyMap<string, Written>;
  readonly remove: readonly string[];
}

export interface ListEdit {
  readonly kind: 'list';
  readonly path: YamlPath;
  /** Items that get this value, by their indexes before the edit, as in `remove`. */
  readonly set: ReadonlyMap<number, Written>;
  readonly remove: readonly number[];
  /** Added at the end. */
  readonly append: readonly Written[];
}

/**
 * A YAML text with these changes and no others: everything else keeps its place, its form and its comments. No two edits may have
 * the same path. Where the text cannot be cut and pasted, the library writes the file anew, with comments and order kept.
 * @returns undefined when even then more would change than was asked for, as where aliases share what is edited
 */
export function editYaml(text: string, edits: readonly Edit[]): string | undefined {
  const plain = plainOf(text);
  const wanted = plain === undefined ? undefined : expected(plain, edits);
  if (wanted === undefined) return undefined;
  const isIt = (candidate: string | undefined) => candidate !== undefined && meaning(candidate) === wanted;
  const cut = cutAndPaste(text, edits);
  if (isIt(cut)) return cut;
  const rewritten = writeAnew(text, edits);
  return isIt(rewritten) ? rewritten : undefined;
}

/** The map or list at a path, where the file itself writes it there: not by an alias, nor by a merge key. */
export function collectionAt(document: Document.Parsed, path: YamlPath): YAMLMap | YAMLSeq | undefined {
  let node: unknown = document.contents;
  for (const step of path) {
    if (isMap(node)) node = ownPair(node, String(step))?.value;
    else node = isSeq(node) && typeof step === 'number' ? node.items[step] : undefined;
  }
  return isMap(node) || isSeq(node) ? node : undefined;
}

function plainOf(text: string): unknown {
  const source = readSource(text, '');
  if (source.document.errors.length > 0) return undefined;
  const plain = plainValue(source);
  return plain.ok ? plain.value : undefined;
}

function meaning(text: string): string | undefined {
  const plain = plainOf(text);
  return plain === undefined ? undefined : canonicalText(unshared(plain));
}

/** A copy in which nothing stands in two places. */
function unshared(value: unknown): JsonValue {
  return JSON.parse(JSON.stringify(value));
}

/** What the text is to mean; undefined when an edit has no place in it. */
function expected(plain: unknown, edits: readonly Edit[]): string | undefined {
  const whole: unknown = unshared(plain);
  // Lists shift: what is inside their items is changed before items go.
  const ordered = [...edits].sort((a, b) => b.path.length - a.path.length);
  for (const edit of ordered) {
    let at: unknown = whole;
    for (const step of edit.path) at = at !== null && typeof at === 'object' ? Reflect.get(at, step) : undefined;
    if (edit.kind === 'list' && Array.isArray(at)) {
      for (const [i, value] of edit.set) at[i] = asPlain(value);
      const kept = at.filter((_, i) => !edit.remove.includes(i));
      at.splice(0, at.length, ...kept, ...edit.append.map(asPlain));
    } else if (edit.kind === 'map' && isPlainObject(at)) {
      for (const key of edit.remove) delete at[key];
      for (const [key, value] of edit.set) {
        Object.defineProperty(at, key, { value: asPlain(value), enumerable: true, configurable: true, writable: true });
      }
    } else return undefined;
  }
  return canonicalText(unshared(whole));
}

function cutAndPaste(text: string, edits: readonly Edit[]): string | undefined {
  const { document } = readSource(text, '');
  const cuts: Cut[] = [];
  for (const edit of edits) {
    const node = collectionAt(document, edit.path);
    const parent = edit.path.length === 0 ? undefined : collectionAt(document, edit.path.slice(0, -1));
    const key = isMap(parent) ? ownPair(parent, String(edit.path.at(-1)))?.key : undefined;
    if (edit.kind === 'map' && isMap(node)) cuts.push(...cutsOfMap(text, node, edit));
    else if (edit.kind === 'list' && isSeq(node)) {
      // An empty list behind its key becomes a block, if it stands in one.
      const after = isMap(parent) && !parent.flow && isScalar(key) ? key : undefined;
      cuts.push(...cutsOfList(text, node, { ...edit, after }));
    } else return undefined;
  }
  return spliced(text, cuts);
}

function writeAnew(text: string, edits: readonly Edit[]): string | undefined {
  const { document } = readSource(text, '');
  for (const edit of [...edits].sort((a, b) => b.path.length - a.path.length)) {
    const node = collectionAt(document, edit.path);
    if (edit.kind === 'map' && isMap(node)) {
      for (const key of edit.remove) removePair(node, ownPair(node, key));
      for (const [key, value] of edit.set) {
        const pair = ownPair(node, key);
        if (pair === undefined) node.add(document.createPair(key, value));
        else pair.value = document.createNode(value);
      }
    } else if (edit.kind === 'list' && isSeq(node)) {
      for (const [i, value] of edit.set) node.items[i] = document.createNode(value);
      node.items = node.items.filter((_, i) => !edit.remove.includes(i));
      for (const value of edit.append) node.add(document.createNode(value));
    } else return undefined;
  }
  // A document with errors, or one whose anchors went, cannot be written.
  try {
    return document.toString({ lineWidth: 0 });
  } catch {
    return undefined;
  }
}

function removePair(map: YAMLMap, pair: Pair | undefined): void {
  map.items = map.items.filter((item) => item !== pair || isAlias(item.key));
}
