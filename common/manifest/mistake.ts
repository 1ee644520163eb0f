import type { z } from 'zod';
import { AppError } from '../errors.ts';
import { clip } from '../fields.ts';
import { limits } from '../limits.ts';
import { nearest } from '../nearest.ts';
import { positionOf, type Source, valueAt, type YamlPath } from './source.ts';
import { keysAt, placesOf } from './warnings.ts';

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

/** `file:line:column: reason` */
export function formatMistake({ file, line, column, reason }: Mistake): string {
  return `${file}:${line}:${column}: ${reason}`;
}

export function manifestError(mistake: Mistake): AppError {
  return new AppError('validation.manifest', formatMistake(mistake), { details: { ...mistake } });
}

export function mistakeAt(source: Source, path: YamlPath, reason: string): Mistake {
  const where = path.length === 0 ? '' : `${path.join('.')}: `;
  return { file: source.file, ...positionOf(source, path), reason: clip(`${where}${reason}`) };
}

/** Mistakes by place; those of a key that is not there, which may be there misspelt, apart. */
export interface SchemaMistakes {
  readonly wrong: readonly Mistake[];
  readonly missing: readonly Mistake[];
}

/** What a schema found in the value of a manifest. A missing key that stands there misspelt is one mistake, not two. */
export function schemaMistakes(source: Source, value: unknown, { issues }: z.ZodError): SchemaMistakes {
  const wrong: Mistake[] = [];
  const absent: YamlPath[] = [];
  const reasons: string[] = [];
  for (const issue of issues) {
    const path = pathOf(issue);
    if (issue.code === 'unrecognized_keys' || valueAt(value, path) !== undefined || path.length === 0) continue;
    absent.push(path);
    reasons.push(issue.message);
  }
  const explained = new Set<string>();
  for (const issue of issues) {
    const path = pathOf(issue);
    if (wrong.length >= limits.maxManifestMistakes) break;
    if (issue.code !== 'unrecognized_keys') {
      if (valueAt(value, path) !== undefined) wrong.push(mistakeAt(source, path, issue.message));
      continue;
    }
    for (const key of issue.keys.slice(0, limits.maxManifestMistakes - wrong.length)) {
      const { meant, hint } = meaning(key, path, absent);
      if (meant !== undefined) explained.add([...path, meant].join('.'));
      const { reason } = mistakeAt(source, path, `unknown key "${clip(key)}"${hint}`);
      wrong.push({ file: source.file, ...positionOf(source, [...path, key]), reason });
    }
  }
  const missing = absent
    .map((path, at) => ({ path, reason: reasons[at] ?? 'is missing' }))
    .filter(({ path }) => !explained.has(path.join('.')))
    .slice(0, limits.maxManifestMistakes)
    .map(({ path, reason }) => mistakeAt(source, path, reason));
  return { wrong, missing };
}

function pathOf({ path }: z.core.$ZodIssue): (string | number)[] {
  return path.filter((key) => typeof key !== 'symbol');
}

/** What an unknown key was probably meant to be, or where it belongs. */
function meaning(key: string, path: YamlPath, absent: readonly YamlPath[]): { meant?: string; hint: string } {
  if (key.length > limits.maxMisspeltChars) return { hint: '' };
  const here = path.join('.');
  const missing = absent.filter((other) => other.slice(0, -1).join('.') === here).map((other) => String(other.at(-1)));
  const meant = nearest(key, [...missing, ...keysAt(path)]);
  if (meant !== undefined) return { meant, hint: `; is it "${meant}"?` };
  const places = placesOf(key);
  return { hint: places.length === 0 ? '' : `; it belongs into ${places.join(', or ')}` };
}
