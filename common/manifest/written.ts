import { canonicalText } from '../canonical.ts';
import type {
  ContainerConfig,
  WantedConfig,
  WantedCreation,
  WantedHealthcheck,
  WantedNetwork,
} from '../container-config.ts';
import { container } from './container.ts';
import { wantedConfig, wantedCreation } from './container-keys.ts';
import type { Written } from './yaml-text.ts';

/*
 * From the one spelling of `ContainerConfig` back to what people write in a manifest. `spelling.ts` is the other direction, and the
 * judge: what it would not read as the same is not written.
 */

export type ConfigKey = keyof ContainerConfig;

/** The keys in the order in which they are written. */
export const configKeys = [
  'entrypoint',
  'command',
  'user',
  'environment',
  'ports',
  'volumes',
  'network_mode',
  'restart_policy',
  'labels',
  'cap_add',
  'cap_drop',
  'privileged',
  'mem_limit',
  'cpus',
] as const satisfies readonly ConfigKey[];

/** What a manifest has to say for this value of a key; undefined when there is no way to say it. */
export function writtenKey<Key extends ConfigKey>(key: Key, value: ContainerConfig[Key]): Written | undefined {
  const written = anyWritten(key, value);
  const read = spelledKey(key, asPlain(written));
  return read !== undefined && canonicalText(read) === canonicalText(value) ? written : undefined;
}

type CreationKey = 'healthcheck' | 'networks' | 'tmpfs';

/** What a manifest has to say for this value of a key that is not compared; undefined when there is no way to say it. */
export function writtenCreation<Key extends CreationKey>(
  key: Key,
  value: NonNullable<WantedCreation[Key]>,
): Written | undefined {
  const written = anyCreation({ [key]: value });
  if (written === undefined) return undefined;
  const parsed = container.safeParse({ name: 'any', image: 'any', [key]: asPlain(written) });
  const read = parsed.success ? wantedCreation(parsed.data)[key] : undefined;
  return read !== undefined && canonicalText(read) === canonicalText(value) ? written : undefined;
}

function anyCreation({ healthcheck, networks, tmpfs }: WantedCreation): Written | undefined {
  if (healthcheck !== undefined) return writtenHealthcheck(healthcheck);
  if (networks !== undefined) return writtenNetworks(networks);
  return tmpfs?.map(({ target, options }) => (options === '' ? target : `${target}:${options}`));
}

function writtenHealthcheck({ test, retries, ...times }: WantedHealthcheck): Written {
  const entries: [string, Written][] = [];
  if (test !== undefined) entries.push(['test', test]);
  for (const [key, ms] of Object.entries(times)) {
    entries.push([key.replace(/_ms$/, ''), ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`]);
  }
  if (retries !== undefined) entries.push(['retries', retries]);
  return new Map(entries);
}

/** As a list of names, unless there is more to say of one of them. */
function writtenNetworks(networks: readonly WantedNetwork[]): Written {
  const said = networks.map(({ name, aliases, ...addresses }): [string, Map<string, Written>] => [
    name,
    new Map<string, Written>([
      ...(aliases.length > 0 ? [['aliases', aliases] as const] : []),
      ...Object.entries(addresses),
    ]),
  ]);
  return said.every(([, more]) => more.size === 0) ? said.map(([name]) => name) : new Map(said);
}

/** What a manifest's schema makes of a value under a key; undefined when it is a mistake there. */
export function spelledKey(key: ConfigKey, value: unknown): WantedConfig[ConfigKey] {
  const parsed = container.safeParse({ name: 'any', image: 'any', [key]: value });
  return parsed.success ? wantedConfig(parsed.data)[key] : undefined;
}

/** A written value as reading it yields it. */
export function asPlain(written: Written): unknown {
  if (typeof written !== 'object') return written;
  if ('entries' in written && !Array.isArray(written)) {
    return Object.fromEntries([...written.entries()].map(([name, value]) => [String(name), asPlain(value)]));
  }
  return [...written.values()].map(asPlain);
}

function anyWritten(key: ConfigKey, value: ContainerConfig[ConfigKey]): Written {
  if (typeof value === 'number') return key === 'cpus' ? value / 1_000 : memory(value);
  if (typeof value === 'boolean') return value;
  if (typeof value === 'string') return key === 'network_mode' && value === 'default' ? 'bridge' : value;
  if (isList(value)) return value.map(key === 'ports' ? port : key === 'volumes' ? mount : (text) => text);
  return new Map(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function isList(value: readonly string[] | Readonly<Record<string, string>>): value is readonly string[] {
  return Array.isArray(value);
}

const memoryUnits = [
  ['g', 1024 ** 3],
  ['m', 1024 ** 2],
  ['k', 1024],
] as const;

/** The largest unit that leaves no fraction. */
function memory(bytes: number): Written {
  const [unit, size] = memoryUnits.find(([, size]) => bytes > 0 && bytes % size === 0) ?? ['', 1];
  return unit === '' ? bytes : `${bytes / size}${unit}`;
}

/** `[<host ip>:][<host port>]-><container port>/<protocol>` as `[[host ip:]host port:]container port[/protocol]`. */
function port(spelled: string): string {
  const [, ip, host = '', inside = ''] = /^(?:(.*):)?([\d-]*)->(.*)$/.exec(spelled) ?? [];
  const before = ip === undefined ? (host === '' ? '' : `${host}:`) : `${ip}:${host}:`;
  return `${before}${inside.replace(/\/tcp$/, '')}`;
}

/** `<source>:<target>:<ro|rw>` in short, where that can say it. */
function mount(spelled: string): Written {
  const [, source = '', target = '', mode] = /^(.*):([^:]*):(ro|rw)$/s.exec(spelled) ?? [];
  if (source !== '') return `${source}:${target}${mode === 'ro' ? ':ro' : ''}`;
  if (mode === 'rw') return target;
  return new Map<string, Written>([
    ['type', 'volume'],
    ['target', target],
    ['read_only', true],
  ]);
}
