import type { z } from 'zod';
import { accepted } from './settings/accepted.ts';
import { type Environment, type ReadTextFile, readEnv } from './settings/env.ts';
import { type SettingIssue, settingsError } from './settings/issue.ts';
import {
  isPlainObject,
  type KnownSetting,
  knownSettings,
  masked,
  memberShape,
  type Shape,
  secretMask,
} from './settings/schema.ts';
import { shown } from './settings/shown.ts';
import type { FoundValue, Reading } from './settings/sources.ts';
import { readYaml } from './settings/yaml.ts';

export { type KnownSetting, knownSettings, secretMask } from './settings/schema.ts';

export const settingsEnvPrefix = 'SIGILWATCH_';

export interface SettingsRequest<Schema extends z.ZodObject> {
  /**
   * A tree of strict objects. Nested strict objects are sections and need no default of their own. Mark secrets with
   * `.meta({ secret: true })` and further variables with `.meta({ env: ['DATABASE_URL'] })`.
   */
  readonly schema: Schema;
  readonly env: Environment;
  readonly envPrefix?: string;
  /** Contents of the settings file, and its path for messages. */
  readonly yamlText?: string | undefined;
  readonly yamlPath?: string | undefined;
  /** Reads the files that `<VARIABLE>_FILE` names for secrets. */
  readonly readFile?: ReadTextFile;
}

/** One setting as it is in force, fit to be shown: secrets are masked. */
export interface EffectiveSetting {
  readonly path: readonly string[];
  /** Undefined when optional and not set. */
  readonly value: unknown;
  /** `default`, `not set`, `env NAME` or `file path:line:column`. */
  readonly source: string;
}

export interface LoadedSettings<Values> {
  readonly values: Values;
  readonly effective: readonly EffectiveSetting[];
}

/**
 * Settings from the environment, over the YAML file, over the schema's defaults.
 * @throws AppError `validation.config` naming every wrong setting at once: key, value, source and what is accepted.
 */
export function loadSettings<Schema extends z.ZodObject>(
  request: SettingsRequest<Schema>,
): LoadedSettings<z.output<Schema>> {
  const envPrefix = request.envPrefix ?? settingsEnvPrefix;
  const known = knownSettings(request.schema, envPrefix);
  const yamlPath = request.yamlPath ?? 'settings.yaml';
  const file = readYaml(request.yamlText ?? '', yamlPath, known);
  const env = readEnv(known, { env: request.env, envPrefix, readFile: request.readFile });
  const found = new Map([...file.found, ...env.found]);
  const parsed = request.schema.safeParse(assemble(known, found));
  const refused = parsed.success
    ? []
    : parsed.error.issues.flatMap(meant).map((issue) => schemaIssue(issue, known, found));
  const issues = [...file.issues, ...env.issues, ...refused.filter((issue) => isNews(issue, [file, env]))];
  if (!parsed.success || issues.length > 0) throw settingsError(issues);
  return { values: parsed.data, effective: effectiveSettings(known, found, parsed.data) };
}

/** The settings as YAML that loads again, secrets masked, each line saying where its value came from. */
export function formatSettings(effective: readonly EffectiveSetting[]): string {
  const lines: string[] = [];
  let open: readonly string[] = [];
  for (const { path, value, source } of effective) {
    const parents = path.slice(0, -1);
    const shared = parents.findIndex((name, depth) => open[depth] !== name);
    const opened = shared === -1 ? [] : parents.slice(shared);
    opened.forEach((name, index) => {
      lines.push(`${'  '.repeat(shared + index)}${name}:`);
    });
    open = parents;
    const indent = '  '.repeat(parents.length);
    const text = value === undefined ? `# ${path.at(-1)}:` : `${path.at(-1)}: ${JSON.stringify(value)} #`;
    lines.push(`${indent}${text} ${source}`);
  }
  return `${lines.join('\n')}\n`;
}

/** The object the schema judges: every section present, so that defaults inside apply; only leaves that were set. */
function assemble(known: readonly KnownSetting[], found: ReadonlyMap<string, FoundValue>): Record<string, unknown> {
  const root: Record<string, unknown> = {};
  for (const { path, key } of known) {
    const parent = path.slice(0, -1).reduce(sectionIn, root);
    const value = found.get(key);
    if (value !== undefined) parent[path.at(-1) ?? ''] = value.value;
  }
  return root;
}

function sectionIn(parent: Record<string, unknown>, name: string): Record<string, unknown> {
  const existing = parent[name];
  if (isPlainObject(existing)) return existing;
  const made: Record<string, unknown> = {};
  parent[name] = made;
  return made;
}

/** A source that failed to deliver a value has said why; that the value is then missing is no second fault. */
function isNews({ key, value }: SettingIssue, readings: readonly Reading[]): boolean {
  if (value !== undefined) return true;
  return readings.every(({ complete, issues }) => complete && !issues.some((issue) => issue.key === key));
}

/** Of a value that has one of several forms, and is wrong inside of it, what is wrong there. */
function meant(issue: z.core.$ZodIssue): readonly z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const inside = issue.errors.filter((form) =>
    form.every(({ path, code }) => path.length > 0 || code !== 'invalid_type'),
  );
  const [only, ...others] = inside;
  if (only === undefined || others.length > 0) return [issue];
  return only.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] })).flatMap(meant);
}

function schemaIssue(
  issue: z.core.$ZodIssue,
  known: readonly KnownSetting[],
  found: ReadonlyMap<string, FoundValue>,
): SettingIssue {
  const setting = known.find(({ path }) => path.every((name, depth) => issue.path[depth] === name));
  if (setting === undefined) return ruleBroken(issue);
  const inner = issue.path.slice(setting.path.length);
  const written = found.get(setting.key);
  const shape = inner.reduce(memberShape, setting.shape);
  const wanted = wantedOf(issue, shape);
  if (written === undefined) return notSet(setting, wanted);
  const value = shown(inner.reduce(memberOf, masked(written.value, setting.shape)));
  return {
    key:
      setting.key +
      inner.map((segment) => (typeof segment === 'number' ? `[${segment}]` : `.${String(segment)}`)).join(''),
    value,
    source: written.sourceOf(inner),
    problem: problemOf(issue, value),
    accepted: wanted,
  };
}

function problemOf(issue: z.core.$ZodIssue, value: string | undefined): string {
  if (value === undefined) return 'lacks it';
  if (issue.code === 'invalid_key') return 'has a name that is refused';
  return issue.code === 'unrecognized_keys' ? `has unknown members (${issue.keys.join(', ')})` : 'is refused';
}

/** A refinement says in its message what it accepts, as does a rule for names; for all else the schema knows. */
function wantedOf(issue: z.core.$ZodIssue, shape: Shape): string {
  if (issue.code === 'invalid_key') return issue.issues.map(({ message }) => message).join(', ');
  return issue.code === 'custom' ? issue.message : accepted(shape);
}

function notSet({ key, envNames }: KnownSetting, wanted: string): SettingIssue {
  const source = `neither env ${envNames.join(' or ')} nor the settings file`;
  return { key, source, problem: 'sets it, and it has no default', accepted: wanted };
}

/** A rule over several settings, from a refinement of a section or of the whole. */
function ruleBroken(issue: z.core.$ZodIssue): SettingIssue {
  const key = issue.path.map(String).join('.') || '(settings)';
  return { key, source: 'the settings together', problem: 'break a rule', accepted: issue.message };
}

function memberOf(value: unknown, segment: PropertyKey): unknown {
  if (value === secretMask) return secretMask;
  if (Array.isArray(value)) return value[Number(segment)];
  return isPlainObject(value) ? value[String(segment)] : undefined;
}

function effectiveSettings(
  known: readonly KnownSetting[],
  found: ReadonlyMap<string, FoundValue>,
  values: unknown,
): readonly EffectiveSetting[] {
  return known.map(({ path, key, shape }) => {
    const value = masked(path.reduce(memberOf, values), shape);
    const unset = value === undefined ? 'not set' : 'default';
    return { path, value, source: found.get(key)?.sourceOf([]) ?? unset };
  });
}
