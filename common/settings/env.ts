import { errnoOf } from '../errors.ts';
import { nearest } from '../nearest.ts';
import type { SettingIssue } from './issue.ts';
import { fileVariant, type KnownSetting, type Shape } from './schema.ts';
import { shownForeign } from './shown.ts';
import type { FoundValue, Reading } from './sources.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads a text file; throws what the file system throws. Only called for `*_FILE` variables. */
export type ReadTextFile = (path: string) => string;

/** Variables with our prefix that are not settings: the settings file itself and the one of an installed package, and which collector commands ask, with what token. */
const reservedEnvNames = [
  'SIGILWATCH_CONFIG',
  'SIGILWATCH_USUAL_CONFIG',
  'SIGILWATCH_CA_FILE',
  'SIGILWATCH_SERVER',
  'SIGILWATCH_TOKEN',
];
/** After our prefix: what a test run says to its tests, and every program that they start finds too. */
const ofTests = 'TEST_';

export interface EnvRequest {
  readonly env: Environment;
  readonly envPrefix: string;
  readonly readFile?: ReadTextFile | undefined;
}

/** The settings named by environment variables. An empty variable counts as not set, as compose files produce them. */
export function readEnv(known: readonly KnownSetting[], request: EnvRequest): Reading {
  const found = new Map<string, FoundValue>();
  const issues: SettingIssue[] = unknownNames(known, request);
  for (const setting of known) {
    const outcome = readSetting(setting, request);
    if (outcome === undefined) continue;
    if ('problem' in outcome) issues.push(outcome);
    else found.set(setting.key, outcome);
  }
  return { found, issues, complete: true };
}

function unknownNames(known: readonly KnownSetting[], { env, envPrefix }: EnvRequest): SettingIssue[] {
  const owners = new Map(known.flatMap((setting) => namesOf(setting).map((name) => [name, setting])));
  const isReserved = (name: string) => reservedEnvNames.includes(name) || name.startsWith(`${envPrefix}${ofTests}`);
  const strangers = Object.keys(env).filter(
    (name) => name.startsWith(envPrefix) && !owners.has(name) && !isReserved(name),
  );
  const meaningOf = nearestIgnoring(envPrefix, [...owners.keys()]);
  return strangers.map((name) => {
    const meant = meaningOf(name);
    const secret = meant === undefined || owners.get(meant)?.secret === true;
    return {
      key: name,
      value: shownForeign(name, env[name], secret),
      source: `env ${name}`,
      problem: 'is not a setting',
      accepted: meant === undefined ? 'variables listed by --print-config' : `${meant} (the nearest)`,
    };
  });
}

/** The prefix is in every name: it must not make strangers look alike. */
function nearestIgnoring(prefix: string, names: readonly string[]): (name: string) => string | undefined {
  const byRest = new Map(names.map((name) => [name.startsWith(prefix) ? name.slice(prefix.length) : name, name]));
  return (name) => byRest.get(nearest(name.slice(prefix.length), byRest.keys()) ?? '');
}

function namesOf({ envNames, secret }: KnownSetting): readonly string[] {
  return secret ? envNames.flatMap((name) => [name, fileVariant(name)]) : envNames;
}

function readSetting(setting: KnownSetting, { env, readFile }: EnvRequest): FoundValue | SettingIssue | undefined {
  for (const name of setting.envNames) {
    const text = env[name] || undefined;
    const path = setting.secret ? env[fileVariant(name)] || undefined : undefined;
    if (text !== undefined && path !== undefined) return setTwice(setting, name);
    if (text !== undefined) return foundText(setting, text, `env ${name}`);
    if (path !== undefined) return readSecretFile(setting, fileVariant(name), path, readFile);
  }
  return undefined;
}

function foundText({ shape }: KnownSetting, text: string, source: string): FoundValue {
  return { value: fromText(text, shape), sourceOf: () => source };
}

function setTwice({ key }: KnownSetting, name: string): SettingIssue {
  const both = `env ${name} and env ${fileVariant(name)}`;
  return { key, source: both, problem: 'are both set', accepted: 'one of the two' };
}

function readSecretFile(setting: KnownSetting, name: string, path: string, readFile?: ReadTextFile) {
  try {
    if (readFile === undefined) throw new Error('this program reads no files for settings');
    return foundText(setting, readFile(path).replace(/\r?\n$/, ''), `env ${name}`);
  } catch (thrown) {
    const reason = errnoOf(thrown) ?? (thrown instanceof Error ? thrown.message : String(thrown));
    return {
      key: setting.key,
      value: JSON.stringify(path),
      source: `env ${name}`,
      problem: `names a file that cannot be read (${reason})`,
      accepted: 'the path of a readable file that holds the value',
    };
  }
}

/** Text as the type the schema expects; unchanged when it is not of that type, so that the schema refuses it. */
function fromText(text: string, shape: Shape): unknown {
  if (shape.anyOf !== undefined) {
    const values = shape.anyOf.map((option) => (typeof option === 'object' ? fromText(text, option) : text));
    return values.find((value) => typeof value !== 'string') ?? text;
  }
  const types = Array.isArray(shape.type) ? shape.type : [shape.type];
  if (types.includes('integer') || types.includes('number')) return numberFrom(text);
  if (types.includes('boolean')) return booleanFrom(text);
  if (types.includes('array')) return listFrom(text, shape);
  return types.includes('object') ? jsonFrom(text) : text;
}

function numberFrom(text: string): unknown {
  return /^[+-]?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text.trim()) ? Number(text) : text;
}

function booleanFrom(text: string): unknown {
  if (/^(true|yes|on|1)$/i.test(text.trim())) return true;
  return /^(false|no|off|0)$/i.test(text.trim()) ? false : text;
}

function listFrom(text: string, shape: Shape): unknown {
  if (text.trim().startsWith('[')) return jsonFrom(text);
  const item: Shape = typeof shape.items === 'object' && !Array.isArray(shape.items) ? shape.items : {};
  const parts = text.split(',').map((part) => part.trim());
  return parts.filter((part) => part !== '').map((part) => fromText(part, item));
}

function jsonFrom(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
