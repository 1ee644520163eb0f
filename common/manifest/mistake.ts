import { z } from 'zod';
import { AppError, toAppError } from '../errors.ts';
import { clip } from '../fields.ts';
import { limits } from '../limits.ts';
import { nearest } from '../nearest.ts';
import type { KnownKeys } from './known-keys.ts';
import { type Mistake, placeOf, type YamlPath } from './place.ts';
import { type Source, valueAt } from './source.ts';

export type { Mistake } from './place.ts';

/** `file:line:column: reason` */
export function formatMistake({ file, line, column, reason }: Mistake): string {
  return `${file}:${line}:${column}: ${reason}`;
}

export function manifestError(mistake: Mistake): AppError {
  return new AppError('validation.manifest', formatMistake(mistake), { details: { ...mistake } });
}

const placed = z.object({ file: z.string(), line: z.int(), column: z.int(), reason: z.string() });

/** The mistake that an error tells of; undefined for any other error. */
export function mistakeOf(thrown: unknown): Mistake | undefined {
  const { code, details } = toAppError(thrown);
  return code === 'validation.manifest' ? placed.safeParse(details).data : undefined;
}

export function mistakeAt(source: Source, path: YamlPath, reason: string): Mistake {
  const where = path.length === 0 ? '' : `${path.join('.')}: `;
  return { file: source.file, ...placeOf(source, path), reason: clip(`${where}${reason}`) };
}

/** What is wrong with the value at `path`, which is named in the reason; `at` is where it stands if that is elsewhere. */
export function refused(source: Source, path: YamlPath, reason: string, at = path): AppError {
  return manifestError({ ...mistakeAt(source, path, reason), ...placeOf(source, at) });
}

/** Mistakes by place; those of a key that is not there, which may be there misspelt, apart. */
export interface SchemaMistakes {
  readonly wrong: readonly Mistake[];
  readonly missing: readonly Mistake[];
}

/** What a schema with these keys found in the value of a file. A missing key that stands there misspelt is one mistake, not two. */
export function schemaMistakes(known: KnownKeys, source: Source, value: unknown, error: z.ZodError): SchemaMistakes {
  const isThere = (issue: z.core.$ZodIssue) => issue.path.length === 0 || valueAt(value, pathOf(issue)) !== undefined;
  const absent = error.issues.filter((issue) => issue.code !== 'unrecognized_keys' && !isThere(issue));
  const unknown = error.issues.filter((issue) => issue.code === 'unrecognized_keys');
  const misspelt = unknown
    .flatMap((issue) => issue.keys.slice(0, limits.maxManifestMistakes).map((key) => ({ path: pathOf(issue), key })))
    .slice(0, limits.maxManifestMistakes)
    .map(({ path, key }) => ({ path, key, ...meaning(key, path, { known, absent: absent.map(pathOf) }) }));
  const explained = new Set(misspelt.map(({ path, meant }) => [...path, meant].join('.')));
  const told = (issue: z.core.$ZodIssue) => mistakeAt(source, pathOf(issue), issue.message);
  return {
    wrong: [
      ...misspelt.map(({ path, key, hint }) => unknownKey(source, path, { key, hint })),
      ...error.issues
        .filter((issue) => issue.code !== 'unrecognized_keys' && isThere(issue))
        .slice(0, limits.maxManifestMistakes)
        .map(told),
    ],
    missing: absent
      .filter((issue) => !explained.has(pathOf(issue).join('.')))
      .slice(0, limits.maxManifestMistakes)
      .map(told),
  };
}

function unknownKey(source: Source, path: YamlPath, { key, hint }: { key: string; hint: string }): Mistake {
  const { reason } = mistakeAt(source, path, `unknown key "${clip(key)}"${hint}`);
  return { file: source.file, ...placeOf(source, [...path, key]), reason };
}

function pathOf({ path }: z.core.$ZodIssue): (string | number)[] {
  return path.filter((key) => typeof key !== 'symbol');
}

interface Candidates {
  readonly known: KnownKeys;
  /** Keys that should be there and are not. */
  readonly absent: readonly YamlPath[];
}

/** What an unknown key was probably meant to be, or where it belongs. */
function meaning(key: string, path: YamlPath, { known, absent }: Candidates): { meant?: string; hint: string } {
  if (key.length > limits.maxMisspeltChars) return { hint: '' };
  const isHere = (other: YamlPath) => other.length === path.length + 1 && path.every((step, i) => other[i] === step);
  const missing = absent.filter(isHere).map((other) => String(other.at(-1)));
  const meant = nearest(key, [...missing, ...known.at(path)]);
  if (meant !== undefined) return { meant, hint: `; is it "${meant}"?` };
  const places = known.places(key);
  return { hint: places.length === 0 ? '' : `; it belongs into ${places.join(', or ')}` };
}
