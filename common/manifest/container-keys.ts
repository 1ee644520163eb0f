import { z } from 'zod';
import type { ContainerConfig, WantedConfig, WantedCreation, WantedFiles } from '../container-config.ts';
import { isPlainName } from '../secrets.ts';
import {
  bounded,
  byForm,
  mapOf,
  maxArguments,
  maxCapabilities,
  maxLabels,
  maxMountedFiles,
  maxNameChars,
  maxReplicas,
  maxVariables,
  name,
  numberAsText,
  path,
  spelledBy,
  textOrNumber,
  truth,
  value,
} from './forms.ts';
import { mount, mountList, ports, tmpfs } from './port-and-mount-keys.ts';
import { dependencies, healthcheck, networks } from './relation-keys.ts';
import { splitWords } from './shell-words.ts';
import {
  cleanPath,
  isRelative,
  type Mount,
  misspelled,
  type Spelled,
  sortedOnce,
  spellCapability,
  spellCpus,
  spelled,
  spellMemory,
  spellMount,
  spellNetworkMode,
  spellRestart,
} from './spelling.ts';

/*
 * How a container is made, as the manifest's `containers` and the services of compose files say it: the keys, their forms and
 * their bounds. Each yields its one spelling or an issue with the exact path. Source: the Compose Specification.
 */

const words = byForm<readonly string[] | undefined>(
  {
    text: spelledBy(value, splitWords),
    list: z.array(value).max(maxArguments),
    // Nothing written is nothing said; an empty list takes away what the image has.
    null: z.null().transform(() => undefined),
  },
  'a text, or a list of texts',
);

const fromShell = 'no value: it would come from the shell of whoever starts the container, and git does not say it';

const variableName = name.refine((text) => !text.includes('='), "a variable's name without =");

const variables = byForm(
  {
    list: z
      .array(
        spelledBy(value, (text): Spelled<readonly [string, string]> => {
          const at = text.indexOf('=');
          if (at === 0) return misspelled('NAME=value');
          return at === -1
            ? misspelled(isPlainName(text) ? `"${text}" has ${fromShell}` : fromShell)
            : spelled([text.slice(0, at), text.slice(at + 1)]);
        }),
      )
      .max(maxVariables),
    map: mapOf(
      variableName,
      byForm<string>(
        {
          text: value,
          number: numberAsText,
          boolean: z.boolean().transform(String),
          null: spelledBy(z.null(), () => misspelled(fromShell)),
        },
        'a text, a number or a boolean',
      ),
      maxVariables,
    ),
  },
  'a map, or a list of NAME=value',
).transform(fromEntries);

const labels = byForm(
  {
    list: z
      .array(
        value.min(1).transform((text): readonly [string, string] => {
          const at = text.indexOf('=');
          return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
        }),
      )
      .max(maxLabels),
    map: mapOf(
      name,
      byForm(
        {
          text: value,
          number: numberAsText,
          boolean: z.boolean().transform(String),
          null: z.null().transform(() => ''),
        },
        'a text, a number or a boolean',
      ),
      maxLabels,
    ),
  },
  'a map, or a list of name=value',
).transform(fromEntries);

/** Inside the container: what git can say of a mount wherever it comes from. */
const fileInside = path.refine(
  (text) => /^\/./.test(text) && cleanPath(text) === text,
  'the path of a file inside the container, from its root and in its shortest form',
);

const contentHash = z
  .string()
  .regex(/^(sha256:)?[0-9a-f]{64}$/, 'sha256:<64 hex digits>')
  .transform((digest) => (digest.startsWith('sha256:') ? digest : `sha256:${digest}`));

const mountedFiles = byForm({ map: mapOf(fileInside, contentHash, maxMountedFiles) }, 'a map of paths').transform(
  fromEntries,
);

/** The last one of a name counts. */
function fromEntries(entries: readonly (readonly [string, string])[]): Readonly<Record<string, string>> {
  return Object.fromEntries(entries);
}

const capabilities = z.array(spelledBy(value, spellCapability)).max(maxCapabilities).transform(sortedOnce);

const restart = byForm(
  { text: spelledBy(value, spellRestart), boolean: spelledBy(z.literal(false), spellRestart) },
  'no, always, unless-stopped, on-failure or on-failure:<most retries>',
);

/** The keys that both have. */
const sharedKeys = {
  command: words.optional(),
  entrypoint: words.optional(),
  environment: variables.optional(),
  ports: ports.optional(),
  labels: labels.optional(),
  user: textOrNumber.optional(),
  cap_add: capabilities.optional(),
  cap_drop: capabilities.optional(),
  privileged: truth.optional(),
  network_mode: spelledBy(name, spellNetworkMode).optional(),
  networks: networks.optional(),
  healthcheck: healthcheck.optional(),
  tmpfs: tmpfs.optional(),
  mem_limit: byForm(
    { text: spelledBy(value, spellMemory), number: spelledBy(z.number(), spellMemory) },
    'an amount of memory',
  ).optional(),
  cpus: byForm(
    { text: spelledBy(value, spellCpus), number: spelledBy(z.number(), spellCpus) },
    'a number of processors',
  ).optional(),
  depends_on: dependencies.optional(),
};

/** What an item of the manifest's `containers` may say beyond name, image and node. */
export const manifestContainerKeys = {
  ...sharedKeys,
  volumes: mountList(mount.superRefine(refuseInManifest)).optional(),
  mounted_files: mountedFiles.optional(),
  restart_policy: restart.optional(),
  namespace: name.optional(),
  replicas: z.int().min(0).max(maxReplicas).optional(),
  bloodline: z
    .strictObject({
      creator: bounded(maxNameChars).optional(),
      created_at: bounded(maxNameChars).optional(),
      purpose: value.optional(),
    })
    .optional(),
};

/** What a compose service may say of how its container is made; see `compose.ts` for the rest of a service. */
export const composeServiceKeys = {
  ...sharedKeys,
  volumes: mountList(mount).optional(),
  restart: restart.optional(),
  // Compose keeps what begins so for others.
  'x-mounted-files': mountedFiles.optional(),
};

/** The manifest belongs to no folder that a path could be relative to. */
function refuseInManifest({ kind, source, ...rest }: Mount, ctx: z.RefinementCtx): void {
  if (kind === 'tmpfs') ctx.addIssue({ code: 'custom', message: 'bind or volume; other mounts are not supported' });
  if (isRelative({ kind, source, ...rest })) {
    ctx.addIssue({
      code: 'custom',
      message: `"${source}" is relative, and git does not say to which folder of the node`,
    });
  }
}

type SharedKeys = z.infer<z.ZodObject<typeof sharedKeys>>;

/** What was parsed with either set of keys. */
export interface SaidKeys extends SharedKeys {
  readonly volumes?: readonly Mount[] | undefined;
  readonly restart?: string | undefined;
  readonly restart_policy?: string | undefined;
  readonly mounted_files?: WantedFiles | undefined;
  readonly 'x-mounted-files'?: WantedFiles | undefined;
}

/** What was said of how the container is made, in its one spelling; what was not said is left out. Mounts of memory are too. */
export function wantedConfig(said: SaidKeys): WantedConfig {
  const config: { -readonly [Key in keyof ContainerConfig]?: ContainerConfig[Key] } = {};
  const restart_policy = said.restart_policy ?? said.restart;
  if (said.command !== undefined) config.command = said.command;
  if (said.entrypoint !== undefined) config.entrypoint = said.entrypoint;
  if (said.environment !== undefined) config.environment = said.environment;
  if (said.ports !== undefined) config.ports = said.ports;
  if (said.volumes !== undefined) {
    config.volumes = sortedOnce(said.volumes.filter(({ kind }) => kind !== 'tmpfs').map(spellMount));
  }
  if (said.labels !== undefined) config.labels = said.labels;
  if (said.user !== undefined) config.user = said.user;
  if (restart_policy !== undefined) config.restart_policy = restart_policy;
  if (said.cap_add !== undefined) config.cap_add = said.cap_add;
  if (said.cap_drop !== undefined) config.cap_drop = said.cap_drop;
  if (said.privileged !== undefined) config.privileged = said.privileged;
  if (said.network_mode !== undefined) config.network_mode = said.network_mode;
  if (said.mem_limit !== undefined) config.mem_limit = said.mem_limit;
  if (said.cpus !== undefined) config.cpus = said.cpus;
  return config;
}

/** What was said of what a container needs to be made and is not compared; what was not said is left out. */
export function wantedCreation(said: SaidKeys): WantedCreation {
  const { healthcheck, networks = [] } = said;
  const mounted = (said.volumes ?? []).filter(({ kind }) => kind === 'tmpfs');
  const others = (said.volumes ?? []).filter(({ kind, options }) => kind !== 'tmpfs' && options !== undefined);
  const tmpfs = [...mounted.map(({ target, options = '' }) => ({ target, options })), ...(said.tmpfs ?? [])];
  return {
    ...(healthcheck === undefined ? {} : { healthcheck }),
    ...(networks.length === 0 ? {} : { networks }),
    ...(tmpfs.length === 0 ? {} : { tmpfs }),
    ...(others.length === 0
      ? {}
      : { mount_options: Object.fromEntries(others.map(({ target, options = '' }) => [target, options])) }),
  };
}

/** What was said of the content of mounted files, as a part of a wanted container. */
export function wantedFiles(said: SaidKeys): { readonly mountedFiles?: WantedFiles } {
  const files = said.mounted_files ?? said['x-mounted-files'] ?? {};
  return Object.keys(files).length === 0 ? {} : { mountedFiles: files };
}

/** What each key allows and all together do not: the key to blame and the reason, or undefined. */
export function contradiction(said: SaidKeys): readonly [key: string, reason: string] | undefined {
  if (said.network_mode !== undefined && (said.networks?.length ?? 0) > 0) {
    return ['network_mode', 'either network_mode or networks'];
  }
  return undefined;
}
