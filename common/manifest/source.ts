import { isNode, isScalar, LineCounter, parseDocument, visit, YAMLParseError } from 'yaml';
import { toAppError } from '../errors.ts';
import { limits } from '../limits.ts';
import { isPlainObject } from '../settings/schema.ts';
import { type Mistake, type Parsed, placeAt, placeOf, type YamlPath } from './place.ts';

/** A manifest's text, taken apart. */
export interface Source extends Parsed {
  readonly file: string;
}

/** Aliases may not blow a small file up into a huge value. */
const maxAliasCount = 100;

export function readSource(text: string, file: string): Source {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    // Finding equal keys is quadratic in the library.
    uniqueKeys: false,
    // They would give the position a second time.
    prettyErrors: false,
    // What it would warn of goes to standard error, past every log.
    logLevel: 'error',
    // `<<` is YAML 1.1, which manifests are written in, too.
    merge: true,
  });
  return { document, lines, file };
}

/** A document as a plain value, or what keeps it from being one. */
export type PlainValue =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly mistake: Mistake };

/** Not for an empty document, nor for aliases that lead nowhere, too far, or back to what they stand in. */
export function plainValue(source: Source): PlainValue {
  const { document, file } = source;
  const refused = (reason: string): PlainValue => ({ ok: false, mistake: { file, line: 1, column: 1, reason } });
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount });
  } catch (thrown) {
    return refused(toAppError(thrown).message);
  }
  // A file that was cut off or emptied by accident must not read as "nothing should run".
  if (value === null || value === undefined) return refused('is empty');
  const endless = pathBack(value);
  if (endless === undefined) return { ok: true, value };
  const reason = `${endless.join('.')}: stands inside itself, by an alias`;
  return { ok: false, mistake: { file, ...placeOf(source, endless), reason } };
}

/** Where a value stands inside itself: whoever follows it does not come to an end. Looks at each part once. */
function pathBack(
  value: unknown,
  path: YamlPath = [],
  around: ReadonlySet<unknown> = new Set(),
  seen = new Set<unknown>(),
): YamlPath | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (around.has(value)) return path;
  if (seen.has(value)) return undefined;
  seen.add(value);
  const inside = new Set(around).add(value);
  const parts: readonly (readonly [string | number, unknown])[] = Array.isArray(value)
    ? value.map((part: unknown, i) => [i, part])
    : Object.entries(value);
  for (const [step, part] of parts) {
    const found = pathBack(part, [...path, step], inside, seen);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What keeps the text from being one YAML document. */
export function syntaxMistakes(source: Source): Mistake[] {
  return source.document.errors.slice(0, limits.maxManifestMistakes).map((error) => mistakeOf(source, error));
}

/** Keys that stand a second time in one map. */
export function repeatedKeys(source: Source): Mistake[] {
  const repeated: Mistake[] = [];
  visit(source.document, {
    Map: (_, map) => {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        const name = isScalar(key) ? key.value : key;
        if (seen.has(name) && isNode(key) && key.range) {
          const [from, to] = key.range;
          const reason = `the key "${String(name)}" stands here twice`;
          repeated.push(mistakeOf(source, new YAMLParseError([from, to], 'DUPLICATE_KEY', reason)));
        }
        if (repeated.length >= limits.maxManifestMistakes) return visit.BREAK;
        seen.add(name);
      }
      return undefined;
    },
  });
  return repeated;
}

function mistakeOf({ lines, file }: Source, error: YAMLParseError): Mistake {
  return { file, ...placeAt(lines, error.pos[0]), reason: syntaxReason(error) };
}

/** What a syntax error says, without what it quotes of the text behind a colon. */
function syntaxReason({ code, message }: YAMLParseError): string {
  if (code === 'MULTIPLE_DOCS') return 'more than one YAML document in the file';
  return message.split('\n')[0]?.replace(/: .*$/, '') ?? 'not YAML';
}

/** What stands at a path of a plain value; undefined when nothing does. */
export function valueAt(value: unknown, path: YamlPath): unknown {
  let at = value;
  for (const step of path) {
    if (Array.isArray(at)) at = at[Number(step)];
    else at = isPlainObject(at) && Object.hasOwn(at, step) ? at[step] : undefined;
  }
  return at;
}
