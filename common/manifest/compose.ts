import { visit } from 'yaml';
import type { z } from 'zod';
import { type AppError, toAppError } from '../errors.ts';
import { isSecretName } from '../secrets.ts';
import { isPlainObject } from '../settings/schema.ts';
import {
  composeKeys,
  composeSchema,
  maxServices,
  projectName,
  serviceKeysWithoutEffect,
  topKeysWithoutEffect,
} from './compose-keys.ts';
import { type Compose, type ComposeContainer, containersOf } from './compose-service.ts';
import { beside, type ReadFile, readEnvFile } from './env-file.ts';
import { interpolate, type LookUp } from './interpolation.ts';
import { manifestError, refused, schemaMistakes } from './mistake.ts';
import { placeAt, type YamlPath } from './place.ts';
import { plainValue, readSource, repeatedKeys, type Source, syntaxMistakes } from './source.ts';
import { type Warning, warningAt } from './warnings.ts';

export type { ComposeContainer, ReadFile };

export const maxComposeChars = 1024 * 1024;

export interface ComposeFile {
  readonly containers: readonly ComposeContainer[];
  /** What is there and has no effect. */
  readonly warnings: readonly Warning[];
}

/**
 * Reads a compose file as git has it. Its `path` counts from the root of the repository; the name of its folder is the project's
 * unless `name` says another. `envFile` is asked for the files that services name in `env_file`, and for the `.env` beside the
 * file, whose variables compose uses too.
 * @throws AppError `validation.manifest` with `details` `{ file, line, column, reason }` (counted from 1) of the first
 *   mistake, which may be in an env file.
 */
export function parseCompose(file: { readonly path: string; readonly text: string }, envFile: ReadFile): ComposeFile {
  const source = readCompose(file);
  const warnings: Warning[] = [];
  const plain = plainValue(source);
  if (!plain.ok) throw manifestError(plain.mistake);
  const written = withoutIdleKeys(source, plain.value, warnings);
  const dotenv = beside(file.path, '.env');
  const variables = (dotenv === undefined ? undefined : readEnvFile(dotenv, envFile, new Map())) ?? new Map();
  const lookUp = (name: string) => variables.get(name);
  const value = withBareVariables(interpolated(source, written, [], lookUp), lookUp);
  const parsed = composeSchema.safeParse(value);
  if (!parsed.success) throw firstMistake(source, value, parsed.error);
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
function readCompose({ path: file, text }: { readonly path: string; readonly text: string }): Source {
  const refuse = (reason: string) => manifestError({ file, line: 1, column: 1, reason });
  if (text.length > maxComposeChars) throw refuse(`longer than ${maxComposeChars} characters`);
  let source: Source;
  try {
    source = readSource(text, file);
  } catch (thrown) {
    // The library descends one call for each level.
    throw refuse(toAppError(thrown).message);
  }
  const broken = syntaxMistakes(source)[0] ?? repeatedKeys(source)[0];
  if (broken !== undefined) throw manifestError(broken);
  refuseOldNumbers(source);
  return source;
}

/** The mistake that explains most: what is missing may be so because of a key that is misspelt. */
function firstMistake(source: Source, value: unknown, error: z.ZodError): AppError {
  const { wrong, missing } = schemaMistakes(composeKeys, source, value, error);
  const [first = { file: source.file, line: 1, column: 1, reason: 'not a compose file' }] = [...wrong, ...missing];
  return manifestError(first);
}

/** Compose still reads `0755` and `1_000` as YAML 1.1 does, where they are other numbers. */
function refuseOldNumbers({ document, lines, file }: Source): void {
  visit(document, {
    Scalar: (key, scalar) => {
      if (key === 'key' || scalar.type !== 'PLAIN' || !/^[-+]?(0\d+|\d+(_\d+)+)$/.test(scalar.source ?? '')) return;
      const at = placeAt(lines, scalar.range?.[0] ?? 0);
      const reason = 'this is another number in older YAML; write it in quotes';
      throw manifestError({ file, ...at, reason });
    },
  });
}

/** Of the keys that compose leaves to others. */
const ownExtensions = new Set(['x-node', 'x-mounted-files']);

/** The file without the keys that have no effect, each of which is named in a warning; extensions go quietly. */
function withoutIdleKeys(source: Source, value: unknown, warnings: Warning[]): unknown {
  if (!isPlainObject(value)) return value;
  const keep = (map: Record<string, unknown>, path: YamlPath, idle: ReadonlyMap<string, string>) => {
    return Object.entries(map).filter(([key]) => {
      const reason = idle.get(key);
      if (reason !== undefined) warnings.push(warningAt(source, [...path, key], reason));
      return ownExtensions.has(key) || !key.startsWith('x-');
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
          throw refused(source, path, 'what runs must be an image, and build alone names none', [...path, 'build']);
        }
        const entries = keep(service, path, serviceKeysWithoutEffect);
        return [name, Object.fromEntries(entries.filter(([key]) => !serviceKeysWithoutEffect.has(key)))];
      });
      return [key, Object.fromEntries(kept)];
    }),
  );
}

/** Without the name, which may be half of a password with a dollar in it. */
const unsaid = 'it needs something that git does not say; write "$$" for a "$" that is meant as it stands';

/** A copy with the variables in every text replaced; keys stay as they are. */
function interpolated(source: Source, value: unknown, path: YamlPath, lookUp: LookUp): unknown {
  if (typeof value === 'string') {
    const result = interpolate(value, lookUp);
    if (!result.ok) {
      const isSecret = path.some((step) => typeof step === 'string' && isSecretName(step));
      throw refused(source, path, isSecret ? unsaid : result.reason);
    }
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
