import type { WantedConfig, WantedCreation, WantedFiles, WantedNetwork } from '../container-config.ts';
import { limits } from '../limits.ts';
import { type ComposeContent, changesTheContainer, type Service } from './compose-keys.ts';
import { contradiction, wantedConfig, wantedCreation, wantedFiles } from './container-keys.ts';
import { beside, type ReadFile, readEnvFile } from './env-file.ts';
import { maxValueChars, maxVariables } from './forms.ts';
import { refused } from './mistake.ts';
import { isListAt, type Place, placeOf, type YamlPath } from './place.ts';
import type { Dependency } from './relation-keys.ts';
import type { Source } from './source.ts';
import { isRelative, type Mount, sortedOnce } from './spelling.ts';
import { createTakenNames } from './taken-names.ts';
import { type Warning, warningAt } from './warnings.ts';

/** A container that a compose file wants. */
export interface ComposeContainer {
  /** The service that wants it, and where that stands in the file. */
  readonly service: string;
  readonly place: Place;
  /** `container_name`, else `<project>-<service>-1`. */
  readonly name: string;
  readonly image: string;
  /** The node it should run on (`x-node`); every node when undefined. */
  readonly node: string | undefined;
  /**
   * Named volumes as the engine calls them. A bind's source that is relative keeps its `.` or `~` in front, since git does not
   * say the folder; `asWanted` of `spelling.ts` is how to compare it.
   */
  readonly config: WantedConfig;
  /** With the network that compose attaches a service to which says nothing of networks. */
  readonly creation: WantedCreation;
  readonly mountedFiles?: WantedFiles;
  /** By the names of their containers. */
  readonly depends_on: readonly Dependency[];
}

/** A compose file on its way to containers. */
export interface Compose {
  readonly source: Source;
  readonly project: string;
  readonly content: ComposeContent;
  /** Of the `.env` beside the file. */
  readonly variables: ReadonlyMap<string, string>;
  readonly envFile: ReadFile;
  readonly warnings: Warning[];
}

/**
 * The containers that the services want. Adds to `warnings`.
 * @throws AppError `validation.manifest` for what each service allows and all of them together do not
 */
export function containersOf(compose: Compose): readonly ComposeContainer[] {
  const { services } = compose.content;
  refuseCycles(compose);
  let chars = 0;
  const containers = services.map(([name, service]) => {
    const container = containerOf(compose, name, service);
    for (const [variable, value] of Object.entries(container.config.environment ?? {}))
      chars += variable.length + value.length;
    if (chars > limits.maxWantedChars) {
      const reason = `with this service, variables are longer than ${limits.maxWantedChars} characters`;
      throw refused(compose.source, ['services', name], reason);
    }
    return container;
  });
  refuseClashes(compose, containers);
  return containers;
}

function containerOf(compose: Compose, name: string, said: Service): ComposeContainer {
  const { source, content } = compose;
  const path = ['services', name];
  const wrong = contradiction(said);
  if (wrong !== undefined) throw refused(source, [...path, wrong[0]], wrong[1]);
  const environment = environmentOf(compose, path, said);
  const volumes = said.volumes?.map((mount, i) => named(compose, [...path, 'volumes', i], mount));
  return {
    service: name,
    place: placeOf(source, path),
    name: containerName(compose, name, said),
    image: said.image,
    node: said['x-node'] ?? content['x-node'],
    config: wantedConfig({ ...said, environment, volumes }),
    creation: creationOf(compose, name, { ...said, volumes }),
    ...wantedFiles(said),
    depends_on: dependenciesOf(compose, path, said),
  };
}

function containerName({ project }: Compose, service: string, said: Service): string {
  return said.container_name ?? `${project}-${service}-1`;
}

/** What the env files set, then what is written: later ones win, `environment` over all. */
function environmentOf(compose: Compose, path: YamlPath, said: Service): Service['environment'] {
  if (said.env_file === undefined) return said.environment;
  const all = new Map<string, string>();
  const isList = isListAt(compose.source, [...path, 'env_file']);
  for (const [i, { path: file, required }] of said.env_file.entries()) {
    const at = [...path, 'env_file', ...(isList ? [i] : [])];
    const within = beside(compose.source.file, file);
    if (within === undefined) throw refused(compose.source, at, `"${file}" leads out of the repository`);
    const variables = readEnvFile(within, compose.envFile, compose.variables);
    if (variables === undefined && required) throw refused(compose.source, at, `"${within}" is not in the repository`);
    for (const [name, value] of variables ?? []) {
      if (value.length > maxValueChars)
        throw refused(compose.source, at, `${name} has more than ${maxValueChars} characters`);
      all.set(name, value);
    }
  }
  for (const [name, value] of Object.entries(said.environment ?? {})) all.set(name, value);
  if (all.size > maxVariables)
    throw refused(compose.source, [...path, 'env_file'], `at most ${maxVariables} variables`);
  return Object.fromEntries(all);
}

/** What compose calls a volume or network at the top: its own name, or with the project in front. */
function resourceName(resources: ComposeContent['volumes'], project: string, key: string): string | undefined {
  const resource = resources?.find(([name]) => name === key)?.[1];
  if (resource === undefined) return undefined;
  return resource.name ?? (resource.external ? key : `${project}_${key}`);
}

/** A mount with its volume as the engine calls it. */
function named({ source, project, content, warnings }: Compose, path: YamlPath, mount: Mount): Mount {
  const warn = (reason: string) => warnings.push(warningAt(source, path, reason));
  if (mount.kind === 'tmpfs') warn('mounts of memory are not compared');
  if (isRelative(mount)) {
    warn(`"${mount.source}" depends on where compose was run: the target and mode are compared, the source is not`);
  }
  if (mount.kind !== 'volume' || mount.source === '') return mount;
  const name = resourceName(content.volumes, project, mount.source);
  if (name === undefined) throw refused(source, path, `"${mount.source}" is not in volumes at the top of the file`);
  return { ...mount, source: name };
}

function creationOf(compose: Compose, service: string, said: Service): WantedCreation {
  const path = ['services', service];
  if (said.tmpfs !== undefined)
    compose.warnings.push(warningAt(compose.source, [...path, 'tmpfs'], 'mounts of memory are not compared'));
  const networks = said.network_mode === undefined ? networksOf(compose, path, said) : [];
  // Whoever is on the same network finds a service by its name.
  const named = networks.map(({ aliases, ...rest }) => ({ ...rest, aliases: sortedOnce([service, ...aliases]) }));
  const unmade = idleKeysOf(compose, service);
  return { ...wantedCreation({ ...said, networks: named }), ...(unmade.length === 0 ? {} : { unmade }) };
}

/** Each of them was taken out of the service and named in a warning. */
function idleKeysOf({ warnings }: Compose, service: string): readonly string[] {
  const prefix = `services.${service}.`;
  const keys = warnings.flatMap(({ key }) => (key.startsWith(prefix) ? [key.slice(prefix.length)] : []));
  return sortedOnce(keys.filter(changesTheContainer));
}

function networksOf({ source, project, content }: Compose, path: YamlPath, said: Service): readonly WantedNetwork[] {
  const networks = said.networks?.length ? said.networks : [{ name: 'default', aliases: [] }];
  return networks.map((network, i) => {
    const name =
      resourceName(content.networks, project, network.name) ??
      // Compose makes this one without being asked.
      (network.name === 'default' ? `${project}_default` : undefined);
    if (name !== undefined) return { ...network, name };
    const at = itemAt(source, [...path, 'networks'], i, network.name);
    throw refused(source, at, `"${network.name}" is not in networks at the top of the file`);
  });
}

function dependenciesOf(compose: Compose, path: YamlPath, said: Service): readonly Dependency[] {
  return (said.depends_on ?? []).flatMap((dependency, i) => {
    const [, other] = compose.content.services.find(([name]) => name === dependency.name) ?? [];
    if (other !== undefined) return [{ ...dependency, name: containerName(compose, dependency.name, other) }];
    if (!dependency.required) return [];
    const at = itemAt(compose.source, [...path, 'depends_on'], i, dependency.name);
    throw refused(compose.source, at, `"${dependency.name}" is not a service of this file`);
  });
}

/** The path of an item that may be written in a list or as a key of a map. */
function itemAt(source: Source, path: YamlPath, i: number, name: string): YamlPath {
  return [...path, isListAt(source, path) ? i : name];
}

/** Takes away what waits for nothing that is left, until nothing more goes; what remains waits for itself. */
function refuseCycles({ source, content }: Compose): void {
  const waits = new Map(
    content.services.map(([name, { depends_on }]) => [name, new Set(depends_on?.map((other) => other.name))]),
  );
  for (let before = -1; before !== waits.size; ) {
    before = waits.size;
    for (const [name, others] of waits) {
      if (![...others].some((other) => waits.has(other))) waits.delete(name);
    }
  }
  const [stuck] = waits.keys();
  if (stuck === undefined) return;
  throw refused(source, ['services', stuck, 'depends_on'], 'it waits for services that wait for each other');
}

/** One name may be wanted once on a node; a container without a node is wanted on every one. */
function refuseClashes({ source }: Compose, containers: readonly ComposeContainer[]): void {
  const names = createTakenNames();
  for (const { service, name, node } of containers) {
    const clash = names.take(name, node, `services.${service}`);
    if (clash === undefined) continue;
    throw refused(source, ['services', service, 'container_name'], `"${name}" is wanted twice, also by ${clash}`);
  }
}
