import { type Document, isAlias, isMap, isNode, isScalar, LineCounter, type Pair, parseDocument } from 'yaml';
import { nearest } from '../nearest.ts';
import type { SettingIssue } from './issue.ts';
import type { KnownSetting } from './schema.ts';
import { shownForeign } from './shown.ts';
import type { FoundValue, Reading } from './sources.ts';

/** Aliases may not blow a small file up into a huge value. */
const maxAliasCount = 100;

/** A settings file being walked beside the tree of known settings. */
interface Walk {
  readonly document: Document.Parsed;
  readonly known: ReadonlyMap<string, KnownSetting>;
  /** `file path:line:column` of an offset. */
  readonly place: (offset: number) => string;
}

type Step =
  | { readonly kind: 'found'; readonly key: string; readonly value: FoundValue }
  | { readonly kind: 'issue'; readonly issue: SettingIssue };

/** The settings written in a YAML 1.2 text; `path` is only a name for messages. Never throws. */
export function readYaml(text: string, path: string, known: readonly KnownSetting[]): Reading {
  const lines = new LineCounter();
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `file ${path}:${line}:${col}`;
  };
  // Pretty errors would quote the source, and with it perhaps a secret.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const faults = [...document.errors, ...document.warnings];
  if (faults.length > 0) {
    const issues = faults.map((fault) => syntaxIssue(fault.code, place(fault.pos[0])));
    return { found: new Map(), issues, complete: false };
  }
  const walk: Walk = { document, place, known: new Map(known.map((setting) => [setting.key, setting])) };
  return collect(section(walk, document.contents, []));
}

function syntaxIssue(code: string, source: string): SettingIssue {
  const reason = code.toLowerCase().replaceAll('_', ' ');
  return { key: '(file)', source, problem: `is not valid YAML (${reason})`, accepted: 'a YAML 1.2 map of settings' };
}

function collect(steps: Iterable<Step>): Reading {
  const found = new Map<string, FoundValue>();
  const issues: SettingIssue[] = [];
  for (const step of steps) {
    if (step.kind === 'found') found.set(step.key, step.value);
    else issues.push(step.issue);
  }
  return { found, issues, complete: true };
}

function* section(walk: Walk, written: unknown, path: readonly string[]): Generator<Step> {
  const node = isAlias(written) ? written.resolve(walk.document) : written;
  // A section whose lines are all commented out is null, and as good as absent.
  if (node === null || node === undefined || (isScalar(node) && node.value === null)) return;
  if (!isMap(node)) {
    yield { kind: 'issue', issue: notASection(walk, written, path) };
    return;
  }
  for (const pair of node.items) yield* member(walk, pair, path);
}

function* member(walk: Walk, pair: Pair, parent: readonly string[]): Generator<Step> {
  const name = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
  const path = [...parent, name];
  const key = path.join('.');
  if (!namesUnder(walk, parent).includes(name)) yield { kind: 'issue', issue: unknownKey(walk, pair, key, parent) };
  else if (walk.known.has(key)) yield { kind: 'found', key, value: foundValue(walk, pair.value, path) };
  else yield* section(walk, pair.value, path);
}

function foundValue(walk: Walk, written: unknown, path: readonly string[]): FoundValue {
  return {
    value: plain(walk, written),
    sourceOf: (inner) => walk.place(offsetOf(walk.document, [...path, ...inner])),
  };
}

/** The names a section may hold, in the order of the schema. */
function namesUnder({ known }: Walk, parent: readonly string[]): readonly string[] {
  const inside = [...known.values()].filter(({ path }) => parent.every((name, depth) => path[depth] === name));
  return [...new Set(inside.flatMap(({ path }) => path.slice(parent.length, parent.length + 1)))];
}

function unknownKey(walk: Walk, pair: Pair, key: string, parent: readonly string[]): SettingIssue {
  const siblings = namesUnder(walk, parent).map((name) => [...parent, name].join('.'));
  const meant = nearest(key, siblings) ?? nearest(key, walk.known.keys());
  return {
    key,
    value: shownForeign(key, outline(walk, pair.value), meant !== undefined && walk.known.get(meant)?.secret === true),
    source: placeOf(walk, pair.key),
    problem: 'is not a setting',
    accepted: meant === undefined ? `one of ${siblings.join(', ')}` : `${meant} (the nearest)`,
  };
}

function notASection(walk: Walk, written: unknown, path: readonly string[]): SettingIssue {
  const key = path.join('.') || '(file)';
  return {
    key,
    value: shownForeign(key, outline(walk, written), false),
    source: placeOf(walk, written),
    problem: 'is not a section',
    accepted: `a map with ${namesUnder(walk, path).join(', ')}`,
  };
}

/** A scalar as it is; of a map or list only its kind, since it may hold the secrets of the section it was meant to be. */
function outline(walk: Walk, written: unknown): unknown {
  const value = plain(walk, written);
  if (typeof value !== 'object' || value === null) return value;
  return Array.isArray(value) ? '(a list)' : '(a section)';
}

function plain({ document }: Walk, written: unknown): unknown {
  return isNode(written) ? written.toJS(document, { maxAliasCount }) : (written ?? null);
}

/** Offset of the deepest node that exists on `path`. */
function offsetOf(document: Document.Parsed, path: readonly PropertyKey[]): number {
  for (let depth = path.length; depth > 0; depth--) {
    const node: unknown = document.getIn(path.slice(0, depth), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}

function placeOf({ place }: Walk, node: unknown): string {
  return place(isNode(node) && node.range ? node.range[0] : 0);
}
