import type { ContainerConfig, WantedConfig, WantedFiles } from './container-config.ts';
import { clip } from './fields.ts';
import { asWanted } from './manifest/spelling.ts';
import { shownValue, withoutSecrets } from './secrets.ts';

/** What an image brings along: whoever makes a container of it without saying otherwise gets that. */
export interface ImageConfig {
  readonly command: readonly string[];
  readonly entrypoint: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly user: string;
  /** Paths inside the container that get an anonymous volume each. */
  readonly volumes: readonly string[];
}

/**
 * Files that are mounted into a container, by their paths inside it: `sha256:<64 hex>`, null for one that is not there, or
 * in a few words why nothing can be said of its content.
 */
export type SeenFiles = ReadonlyMap<string, string | null>;

/** How a container was made, beside what its image brings along. */
export interface MadeContainer {
  readonly config: ContainerConfig;
  readonly image: ImageConfig;
  /** Of those that are wanted, as far as somebody has looked. */
  readonly files?: SeenFiles;
}

/** When a field is judged: `always`, as if a manifest that says nothing of it said that there is none; where it is `said`; or `never`. */
export type Check = 'always' | 'said' | 'never';

export interface ConfigChecks {
  readonly environment: Check;
  readonly ports: Check;
  readonly volumes: Check;
}

/** One field in which a container is not made as it should be. `null` for what is not there. */
export interface ConfigDifference {
  readonly field: string;
  readonly desired: string | null;
  readonly observed: string | null;
}

/** What one drift names; how many more there are stands behind them. An entry has room for several times that. */
const maxDifferences = 40;
const maxDifferencesBytes = 12 * 1024;
const moreField = 'more';

/** Labels that tools put on containers to find them again; Sigilwatch is one. */
const toolLabel = /^(com\.docker\.compose|sigilwatch)\./;

/**
 * Where a container is made in another way than the manifest wants, field by field, after what its image brings along is taken
 * away from both. What the manifest does not say is not judged, but for powers that nobody should get unsaid
 * (`privileged`, `cap_add`, the network of the host or of another container) and for what `checks` says otherwise.
 * @param files content that is wanted to be mounted; a file that nobody has looked at is not as it should be.
 */
export function configDifferences(
  wanted: WantedConfig,
  made: MadeContainer,
  checks: ConfigChecks,
  files: WantedFiles = {},
): ConfigDifference[] {
  const { config, image } = made;
  const labels = wanted.labels && withoutToolLabels(wanted.labels);
  const differences = [
    ...programs(wanted, made),
    ...maps('environment', judged(checks.environment, wanted.environment, {}), {
      seen: config.environment,
      brought: image.environment,
    }),
    ...maps('labels', labels, { seen: withoutToolLabels(config.labels), brought: image.labels }),
    ...lists('ports', judged(checks.ports, wanted.ports, []), config.ports),
    ...lists(
      'volumes',
      judged(checks.volumes, wanted.volumes, []),
      asWanted(wanted.volumes ?? [], ownVolumes(made, wanted.volumes)),
    ),
    ...lists('cap_add', wanted.cap_add ?? [], config.cap_add),
    ...lists('cap_drop', wanted.cap_drop, config.cap_drop),
    ...values('privileged', wanted.privileged ?? false, config.privileged),
    ...values('user', wanted.user === '' ? image.user : wanted.user, config.user),
    ...values('restart_policy', wanted.restart_policy, config.restart_policy),
    ...network(wanted.network_mode, config.network_mode),
    ...values('mem_limit', wanted.mem_limit, config.mem_limit),
    ...values('cpus', wanted.cpus, config.cpus),
    // Last, so that none of the others is ever hidden behind them: see `onlyMountedFiles`.
    ...mountedFiles(files, made.files),
  ];
  return bounded(differences);
}

function judged<T>(check: Check, wanted: T | undefined, none: T): T | undefined {
  if (check === 'never') return undefined;
  return check === 'always' ? (wanted ?? none) : wanted;
}

/** As the engine decides it: an entrypoint of one's own leaves no command of the image. */
function programs({ command, entrypoint }: WantedConfig, { config, image }: MadeContainer): ConfigDifference[] {
  const wantedEntrypoint = entrypoint ?? (command === undefined ? undefined : image.entrypoint);
  const said = command?.length === 0 ? image.command : command;
  const emptied = entrypoint !== undefined && entrypoint.length > 0;
  const wantedCommand = emptied ? (command ?? []) : (said ?? (entrypoint && image.command));
  return [
    ...program('entrypoint', wantedEntrypoint, config.entrypoint),
    ...program('command', wantedCommand, config.command),
  ];
}

function program(field: string, wanted: readonly string[] | undefined, seen: readonly string[]): ConfigDifference[] {
  if (wanted === undefined || JSON.stringify(wanted) === JSON.stringify(seen)) return [];
  const shown = (words: readonly string[]) => JSON.stringify(withoutSecrets(words));
  return [{ field, desired: shown(wanted), observed: shown(seen) }];
}

type Texts = Readonly<Record<string, string>>;

function maps(
  field: 'environment' | 'labels',
  wanted: Texts | undefined,
  { seen, brought }: { readonly seen: Texts; readonly brought: Texts },
): ConfigDifference[] {
  if (wanted === undefined) return [];
  const expected = (name: string) => own(wanted, name) ?? own(brought, name);
  const differs = (name: string) => expected(name) !== own(seen, name);
  const names = new Set([wanted, brought, seen].flatMap((texts) => Object.keys(texts).filter(differs)));
  return [...names].sort().map((name) => ({
    field: `${field}.${name}`,
    desired: shownValue(name, expected(name)) ?? null,
    observed: shownValue(name, own(seen, name)) ?? null,
  }));
}

/** Names are anybody's: `constructor` is one too. */
function own(texts: Texts, name: string): string | undefined {
  return Object.hasOwn(texts, name) ? texts[name] : undefined;
}

export function withoutToolLabels(labels: Texts): Texts {
  return Object.fromEntries(Object.entries(labels).filter(([name]) => !toolLabel.test(name)));
}

/** Anonymous volumes that the image asks for are nobody's decision, unless they are wanted too. */
export function ownVolumes({ config, image }: MadeContainer, wanted: readonly string[] = []): readonly string[] {
  const brought = new Set(image.volumes.map((path) => `:${path}:rw`));
  return config.volumes.filter((volume) => !brought.has(volume) || wanted.includes(volume));
}

/** One difference for each item that is missing, and for each that is too many. */
function lists(field: string, wanted: readonly string[] | undefined, seen: readonly string[]): ConfigDifference[] {
  if (wanted === undefined) return [];
  const [expected, found] = [new Set(wanted), new Set(seen)];
  const missing = wanted.filter((item) => !found.has(item));
  const extra = seen.filter((item) => !expected.has(item));
  return [
    ...missing.map((item) => ({ field, desired: item, observed: null })),
    ...extra.map((item) => ({ field, desired: null, observed: item })),
  ];
}

function values<T extends string | number | boolean>(field: string, wanted: T | undefined, seen: T | undefined) {
  if (wanted === undefined || wanted === seen) return [];
  return [{ field, desired: String(wanted), observed: seen === undefined ? null : String(seen) }];
}

const filesField = 'mounted_files.';

function mountedFiles(wanted: WantedFiles, seen: SeenFiles | undefined): ConfigDifference[] {
  return Object.entries(wanted)
    .map(([path, desired]) => ({ path, desired, observed: seen === undefined ? 'not read' : (seen.get(path) ?? null) }))
    .filter(({ desired, observed }) => desired !== observed)
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .map(({ path, ...sides }) => ({ field: `${filesField}${path}`, ...sides }));
}

/**
 * Whether a container is made as it should be, but for the content of files that are mounted into it: making it anew would mount the
 * same files.
 */
export function onlyMountedFiles(differences: readonly ConfigDifference[]): boolean {
  const isFile = ({ field }: ConfigDifference) => field.startsWith(filesField);
  // What is left out at the end is of the kind that stands last.
  return differences.some(isFile) && differences.every((one) => isFile(one) || one.field === moreField);
}

/** Unsaid, any network will do that is the container's own. */
function network(wanted: string | undefined, seen: string): ConfigDifference[] {
  if (wanted !== undefined) return values('network_mode', wanted, seen);
  const foreign = seen === 'host' || seen.startsWith('container:');
  return foreign ? [{ field: 'network_mode', desired: null, observed: seen }] : [];
}

function bounded(differences: readonly ConfigDifference[]): ConfigDifference[] {
  const shown: ConfigDifference[] = [];
  let bytes = 0;
  for (const { field, desired, observed } of differences.slice(0, maxDifferences)) {
    const one = {
      field: clip(field),
      desired: desired === null ? null : clip(desired),
      observed: observed === null ? null : clip(observed),
    };
    // As JSON, where one character may be six.
    bytes += Buffer.byteLength(JSON.stringify(one));
    if (bytes > maxDifferencesBytes) break;
    shown.push(one);
  }
  const more = differences.length - shown.length;
  return more === 0 ? shown : [...shown, { field: moreField, desired: null, observed: `${more} more differences` }];
}
