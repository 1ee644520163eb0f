import { hash } from 'node:crypto';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { canonicalText } from './canonical.ts';
import type { DesiredContainer, DesiredState } from './desired.ts';
import type { DriftKind } from './drift-kind.ts';
import type { AppError } from './errors.ts';
import { nodeName } from './fields.ts';
import {
  manifestError,
  placeAt,
  plainValue,
  positionOf,
  repeatedKey,
  type Source,
  syntaxReason,
  type YamlPath,
} from './manifest-source.ts';
import { nearest } from './nearest.ts';
import { isPlainObject } from './settings/schema.ts';
import { repeatedWitness, witnessesWanted } from './witnesses.ts';

/** File name of the manifest at the root of the git repository. */
export const manifestFile = 'bloodline_manifest.yaml';

/** Bounded well below what an entry's texts are cut to, so that no two names become one. */
const text = z
  .string()
  .min(1)
  .max(255)
  .refine((value) => value.isWellFormed(), 'text without broken characters');

const imageSha = z
  .string()
  .regex(/^(sha256:)?[0-9a-f]{64}$/, 'sha256:<64 hex digits>')
  .transform((text) => (text.startsWith('sha256:') ? text : `sha256:${text}`));

const container = z.strictObject({
  name: text,
  type: z.enum(['docker', 'kubernetes']).default('docker'),
  image: text,
  image_sha: imageSha.optional(),
  /** The node it should run on; every node when left out. */
  node: nodeName.optional(),
});

const rule = (actions: readonly [string, ...string[]]) => z.strictObject({ action: z.enum(actions).default('alert') });

const driftRules = z.strictObject({
  unauthorized_containers: rule(['terminate', 'alert', 'ignore'])
    .extend({ exceptions: z.array(text).default([]) })
    .prefault({}),
  image_drift: rule(['rollback', 'alert', 'ignore']).prefault({}),
  missing_containers: rule(['recreate', 'alert', 'ignore']).prefault({}),
});

/** The part of the manifest that has an effect: what should run, and who witnesses the ledger. */
const core = z.strictObject({
  nodes: z.array(z.strictObject({ name: nodeName })).default([]),
  containers: z.array(container).default([]),
  drift_rules: driftRules.prefault({}),
  witnesses: witnessesWanted.prefault({}),
});

/** Keys that operators' manifests have and that do not change what is detected; each is named in a warning. */
const notHonoured: Readonly<Record<string, readonly string[]>> = {
  '': [
    'refinery',
    'config',
    'flux',
    'rollback',
    'audit',
    'provenance',
    'health_checks',
    'alerting',
    'maintenance_windows',
    'metadata',
  ],
  'nodes.*': ['role', 'type', 'hostname', 'docker_enabled', 'k8s_enabled', 'monitoring'],
  'containers.*': [
    'namespace',
    'replicas',
    'ports',
    'environment',
    'volumes',
    'labels',
    'restart_policy',
    'command',
    'entrypoint',
    'user',
    'cap_add',
    'cap_drop',
    'privileged',
    'network_mode',
    'networks',
    'healthcheck',
    'mem_limit',
    'cpus',
    'depends_on',
    'bloodline',
  ],
  drift_rules: ['config_drift'],
  'drift_rules.unauthorized_containers': ['grace_period'],
  'drift_rules.image_drift': ['grace_period', 'allow_newer_patches'],
  'drift_rules.missing_containers': ['grace_period'],
};

/** For "did you mean". */
const knownKeys: readonly string[] = [
  ...Object.keys(core.shape),
  ...Object.keys(container.shape),
  ...Object.keys(driftRules.shape),
  ...Object.keys(witnessesWanted.shape),
  ...['action', 'exceptions', 'key', 'url'],
];

export interface Manifest extends z.infer<typeof core> {
  /** Keys that are there but not honoured, as `file:line: key`, for the operator to know. */
  readonly warnings: readonly string[];
}

/**
 * Reads a manifest.
 * @throws AppError `validation.manifest` with `details` `{ file, line, column, reason }` (counted from 1) of the first
 *   mistake.
 */
export function parseManifest(text: string, file = manifestFile): Manifest {
  const lines = new LineCounter();
  // Finding equal keys is quadratic in the library. Pretty errors would give the position a second time.
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false, prettyErrors: false });
  const source: Source = { document, lines, file };
  const broken = document.errors[0] ?? repeatedKey(document);
  if (broken !== undefined) throw manifestError(file, placeAt(lines, broken.pos[0]), syntaxReason(broken), broken);
  const value = plainValue(source);
  const warnings = takeNotHonoured(source, value);
  const parsed = core.safeParse(value);
  if (!parsed.success) throw mistake(source, parsed.error);
  refuseContradictions(source, parsed.data);
  return { ...parsed.data, warnings };
}

/** What the manifest wants on one node. */
export function compileDesired(manifest: Manifest, node: string): DesiredState {
  const rules = manifest.drift_rules;
  const { exceptions } = rules.unauthorized_containers;
  const ignored = new Set<DriftKind>();
  if (rules.unauthorized_containers.action === 'ignore') ignored.add('UNAUTHORIZED_CONTAINER');
  if (rules.image_drift.action === 'ignore') ignored.add('IMAGE_DRIFT');
  if (rules.missing_containers.action === 'ignore') ignored.add('MISSING_CONTAINER');
  return {
    containers: manifest.containers
      .filter((wanted) => wanted.type === 'docker' && (wanted.node ?? node) === node)
      .map(({ name, image, image_sha }): DesiredContainer => ({ name, image, imageId: image_sha ?? null, config: {} })),
    ignored,
    checks: { environment: 'said', ports: 'said', volumes: 'said' },
    exempt: ({ name }) => exceptions.some((glob) => matchesGlob(glob, name)),
  };
}

/** Hex SHA-256 over what is desired: the same for two commits that want the same. */
export function desiredDigest(desired: DesiredState): string {
  const containers = [...desired.containers].sort((a, b) => (a.name < b.name ? -1 : 1));
  return hash('sha256', canonicalText(containers.map((wanted) => ({ ...wanted }))), 'hex');
}

/** Removes the keys that are known but without effect, so that the strict schema sees only the rest. */
function takeNotHonoured(source: Source, manifest: unknown): string[] {
  const warnings: string[] = [];
  for (const [pattern, keys] of Object.entries(notHonoured)) {
    for (const { path, map } of mapsAt(manifest, pattern === '' ? [] : pattern.split('.'))) {
      for (const key of keys.filter((name) => Object.hasOwn(map, name))) {
        const { line } = positionOf(source, [...path, key]);
        warnings.push(`${source.file}:${line}: ${[...path, key].join('.')} has no effect on detection`);
        delete map[key];
      }
    }
  }
  return warnings;
}

interface FoundMap {
  readonly path: YamlPath;
  readonly map: Record<string, unknown>;
}

/** The maps that a pattern means; `*` stands for every item of a list. */
function mapsAt(manifest: unknown, pattern: readonly string[]): FoundMap[] {
  let found: { path: YamlPath; value: unknown }[] = [{ path: [], value: manifest }];
  for (const step of pattern) {
    found = found.flatMap(({ path, value }) => {
      if (step !== '*') return isPlainObject(value) ? [{ path: [...path, step], value: value[step] }] : [];
      return Array.isArray(value) ? value.map((item: unknown, i) => ({ path: [...path, i], value: item })) : [];
    });
  }
  return found.flatMap(({ path, value }) => (isPlainObject(value) ? [{ path, map: value }] : []));
}

/** An unknown key says more than what is missing because of it: `imag` rather than the absent `image`. */
function mistake(source: Source, error: z.ZodError): AppError {
  const { issues } = error;
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
  const path = issue?.path.filter((key) => typeof key !== 'symbol') ?? [];
  const unknownKey = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const at = positionOf(source, unknownKey === undefined ? path : [...path, unknownKey]);
  const where = path.length === 0 ? '' : `${path.join('.')}: `;
  const reason = unknownKey === undefined ? (issue?.message ?? 'not a manifest') : unknownKeyReason(unknownKey, issues);
  return manifestError(source.file, at, `${where}${reason}`, error);
}

function unknownKeyReason(key: string, issues: readonly z.core.$ZodIssue[]): string {
  const missing = issues.flatMap(({ path }) => path.slice(-1)).filter((name) => typeof name === 'string');
  const meant = nearest(key, [...missing, ...knownKeys]);
  return `unknown key "${key}"${meant === undefined ? '' : `; is it "${meant}"?`}`;
}

/** What each part allows and the whole does not. */
function refuseContradictions(source: Source, { nodes, containers, witnesses }: z.infer<typeof core>): void {
  const twice = repeatedWitness(witnesses.outside);
  if (twice !== undefined) {
    const path = ['witnesses', 'outside', twice[1], 'key'];
    const reason = `${path.join('.')}: the same key as witnesses.outside.${twice[0]}; a witness counts once`;
    throw manifestError(source.file, positionOf(source, path), reason, undefined);
  }
  const known = new Set(nodes.map(({ name }) => name));
  const seen = new Map<string, number>();
  for (const [i, { name, node, type }] of containers.entries()) {
    const refuse = (key: string, reason: string) => {
      const path = ['containers', i, key];
      return manifestError(source.file, positionOf(source, path), `${path.join('.')}: ${reason}`, undefined);
    };
    if (node !== undefined && known.size > 0 && !known.has(node)) throw refuse('node', `"${node}" is not in nodes`);
    if (type !== 'docker') continue;
    const everywhere = seen.get(`${name}/`);
    const clash = everywhere ?? seen.get(`${name}/${node ?? '*'}`);
    if (clash !== undefined) throw refuse('name', `"${name}" is wanted twice, also by containers.${clash}`);
    seen.set(`${name}/${node ?? ''}`, i);
    // One without a node is wanted on every node, and clashes with any.
    seen.set(`${name}/*`, i);
  }
}

/** Whether `*` for any run of characters and `?` for one make `glob` fit; never slower than their lengths multiplied. */
function matchesGlob(glob: string, text: string): boolean {
  let at = 0;
  let star = -1;
  let retryAt = 0;
  for (let i = 0; i < text.length; ) {
    if (glob[at] === '*') {
      star = at++;
      retryAt = i;
    } else if (at < glob.length && (glob[at] === '?' || glob[at] === text[i])) {
      at++;
      i++;
    } else if (star === -1) return false;
    else {
      at = star + 1;
      i = ++retryAt;
    }
  }
  return /^\**$/.test(glob.slice(at));
}
