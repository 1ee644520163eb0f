import {
  type ConfigChecks,
  configDifferences,
  type MadeContainer,
  ownVolumes,
  withoutToolLabels,
} from '../../common/config-drift.ts';
import type { ContainerConfig, WantedConfig } from '../../common/container-config.ts';
import { type ConfigKey, configKeys, writtenKey } from '../../common/manifest/written.ts';
import type { Written } from '../../common/manifest/yaml-text.ts';
import type { MayWrite } from './secrets.ts';

/** Something that runs and that the manifest is not made to say, by its key and, where it has one, its name. */
export interface Untold {
  /** Of the manifest, or, when it has none for it, in the words of compose. */
  readonly key: string;
  readonly name: string | undefined;
  /**
   * It looks secret; the container lacks what its image sets; there is no way to write it; its image is not known; or no manifest has
   * a key for it.
   */
  readonly why: 'secret' | 'unset' | 'unwritable' | 'image' | 'foreign';
  /** Whether the whole key is left out for it, and so is not judged. */
  readonly wholeKey: boolean;
}

/** What a manifest has to say of how a container is made, as it is written there. */
export interface OwnConfig {
  readonly keys: ReadonlyMap<ConfigKey, Written>;
  readonly untold: readonly Untold[];
}

/** How a container was made; its image is undefined when the engine did not tell about it. */
export interface Seen {
  readonly config: ContainerConfig;
  readonly image: MadeContainer['image'] | undefined;
}

/**
 * The least that a manifest has to say so that a container is found to be made as it should be: what its image does not bring along, and
 * what is not the engine's default. A map that would be incomplete is left out as a whole, since half of it would be a
 * drift; unless it is judged in any case.
 */
export function ownConfig(seen: Seen, checks: ConfigChecks, mayWrite: MayWrite): OwnConfig {
  const keys = new Map<ConfigKey, Written>();
  const untold: Untold[] = [];
  const say = (key: ConfigKey, value: ContainerConfig[ConfigKey] | undefined): void => {
    if (value === undefined) return;
    const written = writtenKey(key, value);
    if (written === undefined) untold.push({ key, name: undefined, why: 'unwritable', wholeKey: true });
    else keys.set(key, written);
  };
  const { config, image } = seen;
  const own: WantedConfig = { ...unlikeDefaults(config), ...(image && unlikeImage({ config, image })) };
  for (const key of configKeys) {
    const value = own[key];
    if (key === 'environment' || key === 'labels') {
      const told = image === undefined ? undefined : tellable(key, own[key] ?? {}, { config, image }, mayWrite);
      const incomplete = told !== undefined && told.untold.length > 0;
      const wholeKey = incomplete && (key === 'labels' || checks.environment !== 'always');
      untold.push(...(told?.untold ?? []).map((one) => ({ ...one, wholeKey })));
      if (told !== undefined && !wholeKey && Object.keys(told.texts).length > 0) say(key, told.texts);
    } else if (isProgram(key) && hasSecret(own, mayWrite)) {
      if (value !== undefined) untold.push({ key, name: undefined, why: 'secret', wholeKey: true });
    } else say(key, value);
  }
  if (image === undefined) {
    const unknown: readonly ConfigKey[] = ['entrypoint', 'command', 'user', 'environment', 'labels', 'volumes'];
    untold.push(...unknown.map((key) => ({ key, name: undefined, why: 'image' as const, wholeKey: true })));
  }
  return { keys, untold };
}

function isProgram(key: ConfigKey): boolean {
  return key === 'command' || key === 'entrypoint';
}

/** One without the other would mean another program. */
function hasSecret({ command = [], entrypoint = [] }: WantedConfig, { words }: MayWrite): boolean {
  return !words('command', command) || !words('entrypoint', entrypoint);
}

/** What does not depend on the image. */
function unlikeDefaults(config: ContainerConfig): WantedConfig {
  const { ports, cap_add, cap_drop, privileged, network_mode, restart_policy, mem_limit, cpus } = config;
  return {
    ...(ports.length > 0 && { ports }),
    ...(network_mode !== 'default' && { network_mode }),
    ...(restart_policy !== 'no' && { restart_policy }),
    ...(cap_add.length > 0 && { cap_add }),
    ...(cap_drop.length > 0 && { cap_drop }),
    ...(privileged && { privileged }),
    ...(mem_limit > 0 && { mem_limit }),
    ...(cpus > 0 && { cpus }),
  };
}

function unlikeImage(made: MadeContainer): WantedConfig {
  const { config, image } = made;
  const volumes = ownVolumes(made);
  return {
    ...programsOf(made),
    environment: unlike(config.environment, image.environment),
    labels: unlike(withoutToolLabels(config.labels), image.labels),
    ...(volumes.length > 0 && { volumes }),
    ...(config.user !== image.user && { user: config.user }),
  };
}

type Programs = Pick<WantedConfig, 'command' | 'entrypoint'>;

/**
 * The fewest words, on top of what is said already, that make the engine run what runs: an entrypoint of one's own leaves no
 * command of the image. Nothing, when what is said or the image already does.
 */
export function programsOf(made: MadeContainer, said: Programs = {}): Programs {
  const { command, entrypoint } = made.config;
  const isImage = sameWords(command, made.image.command) && sameWords(entrypoint, made.image.entrypoint);
  if (said.command === undefined && said.entrypoint === undefined && isImage) return {};
  const fits = (wanted: Programs) => {
    const isSaid = wanted.command !== undefined || wanted.entrypoint !== undefined;
    return (
      isSaid && configDifferences(wanted, made, unchecked).every(({ field }) => !/^(command|entrypoint)$/.test(field))
    );
  };
  const both = { entrypoint, command };
  const candidates: readonly Programs[] = [{}, { command }, { entrypoint }];
  return candidates.find((candidate) => fits({ ...said, ...candidate })) ?? both;
}

const unchecked: ConfigChecks = { environment: 'never', ports: 'never', volumes: 'never' };

function sameWords(a: readonly string[], b: readonly string[]): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

type Texts = Readonly<Record<string, string>>;

function unlike(texts: Texts, brought: Texts): Texts {
  const isOwn = ([name, value]: readonly [string, string]) => !Object.hasOwn(brought, name) || brought[name] !== value;
  return Object.fromEntries(Object.entries(texts).filter(isOwn));
}

/** What of variables or labels may be written, and what is missing then. */
function tellable(key: 'environment' | 'labels', own: Texts, { config, image }: MadeContainer, { value }: MayWrite) {
  const isSecret = ([name, text]: readonly [string, string]) => !value(name, text);
  const secret = Object.entries(own).filter(isSecret);
  const unset = Object.keys(image[key]).filter((name) => !Object.hasOwn(config[key], name));
  const untold = [
    ...secret.map(([name]) => ({ key, name, why: 'secret' as const })),
    ...unset.map((name) => ({ key, name, why: 'unset' as const })),
  ];
  return { texts: Object.fromEntries(Object.entries(own).filter((entry) => !isSecret(entry))), untold };
}
