import { LineCounter, parseDocument, visit } from 'yaml';
import { toAppError } from '../errors.ts';
import {
  manifestError,
  placeAt,
  plainValue,
  repeatedKey,
  type Source,
  syntaxReason,
  type YamlPath,
} from '../manifest-source.ts';
import { isPlainObject } from '../settings/schema.ts';
import {
  composeSchema,
  knownComposeKeys,
  maxServices,
  projectName,
  serviceKeysWithoutEffect,
  topKeysWithoutEffect,
} from './compose-keys.ts';
import { type Compose, type ComposeContainer, containersOf } from './compose-service.ts';
import { beside, type ReadFile, readEnvFile } from './env-file.ts';
import { interpolate, type LookUp } from './interpolation.ts';
import { mistake, placeOf, refused } from './mistake.ts';

export type { ComposeContainer, ReadFile };

export const maxComposeChars = 1024 * 1024;

export interface ComposeFile {
  readonly containers: readonly ComposeContainer[];
  /** What is there and has no effect, as `file:line: key: reason`. */
  readonly warnings: readonly string[];
}

/**
 * Reads a compose file as git has it. Its `path` counts from the root of the repository; the name of its folder is the project's
 * unless `name` says another. `envFile` is asked for the files that services name in `env_file`, and for the `.env` beside the
 * file, whose variables compose uses too.
 * @throws AppError `validation.manifest` with `details` `{ file, line, column, reason }` (counted from 1) of the first
 *   mistake, which may be in an env file.
 */
export function parseCompose(file: { readonly path: string; readonly text: string }, envFile: ReadFile): ComposeFile {
  const source = readSource(file);
  const warnings: string[] = [];
  const written = withoutIdleKeys(source, plainValue(source), warnings);
  const dotenv = beside(file.path, '.env');
  const variables = (dotenv === undefined ? undefined : readEnvFile(dotenv, envFile, new Map())) ?? new Map();
  const lookUp = (name: string) => variables.get(name);
  const value = withBareVariables(interpolated(source, written, [], lookUp), lookUp);
  const parsed = composeSchema.safeParse(value);
  if (!parsed.success) throw mistake(source, parsed.error, knownComposeKeys);
  const project = variables.get('COMPOSE_PROJECT_NAME') ?? parsed.data.name ?? projectOf(file.path);
  if (!projectName.safeParse(project).success) {
    throw refused(source, [], `"${project}" is no name for a project: lower-case letters, digits, - and _; set name`);
  }
  const compose: Compose = { source, project, content: parsed.data, variables, envFile, warnings };
  return { containers: containersOf(compose), warnings };
}

/** The name of the folder as compose makes a project's name of it; empty when nothing is left of it. */
function projectOf(path: string): string {
  const folder = path.split('/').at(-2) ?? '';
  return folder
    .toLowerCase()
    .replace(/[^a-z0-9_-]/g, '')
    .replace(/^[_-]+/, '');
}

/** @throws AppError `validation.manifest` for what is not YAML, or YAML that compose reads otherwise than we do */
function readSource({ path: file, text }: { readonly path: string; readonly text: string }): Source {
  const start = { line: 1, column: 1 };
  if (text.length > maxComposeChars)
    throw manifestError(file, start, `longer than ${maxComposeChars} characters`, undefined);
  const lines = new LineCounter();
  let source: Source;
  try {
    // Finding equal keys is quadratic in the library. Pretty errors would give the position a second time.
    const options = { lineCounter: lines, uniqueKeys: false, prettyErrors: false, merge: true };
    source = { document: parseDocument(text, options), lines, file };
  } catch (thrown) {
    // The library descends one call for each level.
    throw manifestError(file, start, toAppError(thrown).message, thrown);
  }
  const broken = source.document.errors[0] ?? repeatedKey(source.document);
  if (broken === undefined) refuseOldNumbers(source);
  else throw manifestError(file, placeAt(lines, broken.pos[0]), syntaxReason(broken), broken);
  return source;
}

/** Compose still reads `0755` and `1_000` as YAML 1.1 does, where they are other numbers. */
function refuseOldNumbers({ document, lines, file }: Source): void {
  visit(document, {
    Scalar: (key, scalar) => {
      if (key === 'key' || scalar.type !== 'PLAIN' || !/^[-+]?(0\d+|\d+(_\d+)+)$/.test(scalar.source ?? '')) return;
      const at = placeAt(lines, scalar.range?.[0] ?? 0);
      throw manifestError(file, at, `${scalar.source} is another number in older YAML; write it in quotes`, undefined);
    },
  });
}

/** The file without the keys that have no effect, each of which is named in a warning; extensions go quietly. */
function withoutIdleKeys(source: Source, value: unknown, warnings: string[]): unknown {
  if (!isPlainObject(value)) return value;
  const keep = (map: Record<string, unknown>, path: YamlPath, idle: ReadonlyMap<string, string>) => {
    return Object.entries(map).filter(([key]) => {
      const reason = idle.get(key);
      if (reason !== undefined) warnings.push(warning(source, [...path, key], reason));
      return key === 'x-node' || !key.startsWith('x-');
    });
  };
  const top = keep(value, [], topKeysWithoutEffect).filter(
    ([key]) => key !== 'version' && (key in composeSchema.shape || !topKeysWithoutEffect.has(key)),
  );
  return Object.fromEntries(
    top.map(([key, services]) => {
      if (key !== 'services' || !isPlainObject(services)) return [key, services];
      // More are refused in a moment, without looking for the place of every key in them.
      const few = Object.entries(services).slice(0, maxServices + 1);
      const kept = few.map(([name, service]) => {
        if (!isPlainObject(service)) return [name, service];
        const path = ['services', name];
        if (service.image === undefined && service.build !== undefined) {
          throw refused(source, path, 'what runs must be an image, and build alone names none', undefined, [
            ...path,
            'build',
          ]);
        }
        const entries = keep(service, path, serviceKeysWithoutEffect);
        return [name, Object.fromEntries(entries.filter(([key]) => !serviceKeysWithoutEffect.has(key)))];
      });
      return [key, Object.fromEntries(kept)];
    }),
  );
}

function warning({ file, ...source }: Source, path: YamlPath, reason: string): string {
  return `${file}:${placeOf({ file, ...source }, path).line}: ${path.join('.')}: ${reason}`;
}

/** A copy with the variables in every text replaced; keys stay as they are. */
function interpolated(source: Source, value: unknown, path: YamlPath, lookUp: LookUp): unknown {
  if (typeof value === 'string') {
    const result = interpolate(value, lookUp);
    if (!result.ok) throw refused(source, path, result.reason);
    return result.value;
  }
  if (Array.isArray(value)) return value.map((item: unknown, i) => interpolated(source, item, [...path, i], lookUp));
  if (!isPlainObject(value)) return value;
  const entries = Object.entries(value);
  return Object.fromEntries(entries.map(([key, item]) => [key, interpolated(source, item, [...path, key], lookUp)]));
}

/** The file with the variables that services name without a value where the `.env` has one. */
function withBareVariables(file: unknown, lookUp: LookUp): unknown {
  if (!isPlainObject(file) || !isPlainObject(file.services)) return file;
  const services = Object.entries(file.services).map(([name, service]) => {
    if (!isPlainObject(service) || service.environment === undefined) return [name, service];
    return [name, { ...service, environment: filled(service.environment, lookUp) }];
  });
  return { ...file, services: Object.fromEntries(services) };
}

function filled(environment: unknown, lookUp: LookUp): unknown {
  if (Array.isArray(environment)) {
    return environment.map((item: unknown) => {
      const value = typeof item === 'string' && !item.includes('=') ? lookUp(item) : undefined;
      return value === undefined ? item : `${item}=${value}`;
    });
  }
  if (!isPlainObject(environment)) return environment;
  return Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, value ?? lookUp(name) ?? null]));
}
