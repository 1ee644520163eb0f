import { type Document, isMap, isNode, isPair, isScalar, type LineCounter, visit, YAMLParseError } from 'yaml';
import { AppError, toAppError } from './errors.ts';

/** A manifest's text, taken apart. */
export interface Source {
  readonly document: Document.Parsed;
  readonly lines: LineCounter;
  readonly file: string;
}

export type YamlPath = readonly (string | number)[];

/** Counted from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Aliases may not blow a small file up into a huge value. */
const maxAliasCount = 100;

/**
 * The document as a plain value.
 * @throws AppError `validation.manifest` for an empty document, or aliases that lead nowhere or too far
 */
export function plainValue({ document, file }: Source): unknown {
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount });
  } catch (thrown) {
    throw manifestError(file, { line: 1, column: 1 }, toAppError(thrown).message, thrown);
  }
  // A file that was cut off or emptied by accident must not read as "nothing should run".
  if (value === null || value === undefined) throw manifestError(file, { line: 1, column: 1 }, 'is empty', undefined);
  return value;
}

/** The first key that stands twice in one map, as a syntax error. */
export function repeatedKey(document: Document.Parsed): YAMLParseError | undefined {
  let repeated: YAMLParseError | undefined;
  visit(document, {
    Map: (_, map) => {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        const name = isScalar(key) ? key.value : key;
        if (seen.has(name) && isNode(key) && key.range) {
          const [from, to] = key.range;
          repeated = new YAMLParseError([from, to], 'DUPLICATE_KEY', `the key "${String(name)}" stands here twice`);
          return visit.BREAK;
        }
        seen.add(name);
      }
      return undefined;
    },
  });
  return repeated;
}

/** What a syntax error says, without quoting the text. */
export function syntaxReason({ code, message }: YAMLParseError): string {
  if (code === 'MULTIPLE_DOCS') return 'more than one YAML document in the file';
  return message.split('\n')[0] ?? 'not YAML';
}

export function placeAt(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return { line, column: col };
}

/** Where a path stands in the text: its key if it has one, else the nearest thing around it. */
export function positionOf({ document, lines }: Source, path: YamlPath): Place {
  for (let depth = path.length; depth > 0; depth--) {
    const parent: unknown = depth === 1 ? document.contents : document.getIn(path.slice(0, depth - 1), true);
    const node: unknown = keyOf(parent, path[depth - 1]) ?? document.getIn(path.slice(0, depth), true);
    if (isNode(node) && node.range) return placeAt(lines, node.range[0]);
  }
  return { line: 1, column: 1 };
}

function keyOf(map: unknown, key: string | number | undefined): unknown {
  if (!isMap(map)) return undefined;
  return map.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === key)?.key;
}

export function manifestError(file: string, at: Place, reason: string, cause: unknown): AppError {
  return new AppError('validation.manifest', `${file}:${at.line}:${at.column}: ${reason}`, {
    details: { file, ...at, reason },
    ...(cause === undefined ? {} : { cause }),
  });
}
