import { hash } from 'node:crypto';
import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { canonicalText } from './canonical.ts';
import type { DesiredContainer, DesiredState } from './desired.ts';
import type { DriftKind } from './drift.ts';
import { AppError } from './errors.ts';
import { foreignText, nodeName } from './fields.ts';

/** File name of the manifest at the root of the git repository. */
export const manifestFile = 'bloodline_manifest.yaml';

const imageSha = z
  .string()
  .regex(/^(sha256:)?[0-9a-f]{64}$/, 'sha256:<64 hex digits>')
  .transform((text) => (text.startsWith('sha256:') ? text : `sha256:${text}`));

const container = z.strictObject({
  name: foreignText.min(1),
  type: z.enum(['docker', 'kubernetes']).default('docker'),
  image: foreignText.min(1),
  image_sha: imageSha.optional(),
  /** The node it should run on; every node when left out. */
  node: nodeName.optional(),
});

const rule = (actions: readonly [string, ...string[]]) => z.strictObject({ action: z.enum(actions).default('alert') });

const driftRules = z.strictObject({
  unauthorized_containers: rule(['terminate', 'alert', 'ignore'])
    .extend({ exceptions: z.array(foreignText).default([]) })
    .prefault({}),
  image_drift: rule(['rollback', 'alert', 'ignore']).prefault({}),
  missing_containers: rule(['recreate', 'alert', 'ignore']).prefault({}),
});

/** The part of the manifest that drift detection rests on. */
const core = z.strictObject({
  nodes: z.array(z.strictObject({ name: nodeName })).default([]),
  containers: z.array(container).default([]),
  drift_rules: driftRules.prefault({}),
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

export interface Manifest extends z.infer<typeof core> {
  /** Keys that are there but not honoured, as `file:line: key`, for the operator to know. */
  readonly warnings: readonly string[];
}

/**
 * Reads a manifest.
 * @throws AppError `validation.manifest` with `details` `{ file, line, column }` (counted from 1) of the first mistake.
 */
export function parseManifest(text: string, file = manifestFile): Manifest {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const broken = document.errors[0];
  if (broken !== undefined) {
    const { line, col } = lines.linePos(broken.pos[0]);
    throw manifestError(file, { line, column: col }, broken.message.split('\n')[0] ?? 'not YAML', broken);
  }
  const warnings = takeNotHonoured(document, lines, file);
  const parsed = core.safeParse(document.toJS() ?? {});
  if (parsed.success) return { ...parsed.data, warnings };
  const issue = parsed.error.issues[0];
  const path = issue?.path.filter((key) => typeof key !== 'symbol') ?? [];
  const unknownKey = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const at = positionOf(document, lines, unknownKey === undefined ? path : [...path, unknownKey]);
  const where = path.length === 0 ? '' : `${path.join('.')}: `;
  throw manifestError(file, at, `${where}${issue?.message ?? 'not a manifest'}`, parsed.error);
}

/** What the manifest wants on one node. */
export function compileDesired(manifest: Manifest, node: string): DesiredState {
  const rules = manifest.drift_rules;
  const exceptions = rules.unauthorized_containers.exceptions.map(globPattern);
  const ignored = new Set<DriftKind>();
  if (rules.unauthorized_containers.action === 'ignore') ignored.add('UNAUTHORIZED_CONTAINER');
  if (rules.image_drift.action === 'ignore') ignored.add('IMAGE_DRIFT');
  if (rules.missing_containers.action === 'ignore') ignored.add('MISSING_CONTAINER');
  return {
    containers: manifest.containers
      .filter((wanted) => wanted.type === 'docker' && (wanted.node ?? node) === node)
      .map(({ name, image, image_sha }): DesiredContainer => ({ name, image, imageId: image_sha ?? null })),
    ignored,
    exempt: ({ name }) => exceptions.some((pattern) => pattern.test(name)),
  };
}

/** Hex SHA-256 over what is desired: the same for two commits that want the same. */
export function desiredDigest(desired: DesiredState): string {
  const containers = [...desired.containers].sort((a, b) => (a.name < b.name ? -1 : 1));
  return hash('sha256', canonicalText(containers.map((wanted) => ({ ...wanted }))), 'hex');
}

/** Removes the keys that are known but without effect, so that the strict schema sees only the rest. */
function takeNotHonoured(document: Document, lines: LineCounter, file: string): string[] {
  const warnings: string[] = [];
  for (const [pattern, keys] of Object.entries(notHonoured)) {
    for (const path of expand(document, pattern === '' ? [] : pattern.split('.'))) {
      for (const key of keys) {
        if (!document.hasIn([...path, key])) continue;
        const { line } = positionOf(document, lines, [...path, key]);
        warnings.push(`${file}:${line}: ${[...path, key].join('.')} has no effect on detection`);
        document.deleteIn([...path, key]);
      }
    }
  }
  return warnings;
}

type YamlPath = readonly (string | number)[];

/** The paths of maps that a pattern means; `*` stands for every item of a list. */
function expand(document: Document, pattern: readonly string[]): YamlPath[] {
  let paths: YamlPath[] = [[]];
  for (const step of pattern) {
    paths = paths.flatMap((path): YamlPath[] => {
      if (step !== '*') return [[...path, step]];
      const list: unknown = document.getIn(path);
      const items = isNode(list) && 'items' in list && Array.isArray(list.items) ? list.items.length : 0;
      return Array.from({ length: items }, (_, i) => [...path, i]);
    });
  }
  return paths.filter((path) => isMap(path.length === 0 ? document.contents : document.getIn(path, true)));
}

/** Where a path stands in the text: its key if it has one, else the nearest thing around it. */
function positionOf(document: Document, lines: LineCounter, path: YamlPath): { line: number; column: number } {
  for (let depth = path.length; depth >= 0; depth--) {
    const parent: unknown = depth === 0 ? undefined : document.getIn(path.slice(0, depth - 1), true);
    const last = path[depth - 1];
    const pair =
      isMap(parent ?? document.contents) && depth > 0 ? pairOf(parent ?? document.contents, last) : undefined;
    const node: unknown = pair ?? (depth === 0 ? document.contents : document.getIn(path.slice(0, depth), true));
    const offset = isNode(node) ? node.range?.[0] : undefined;
    if (offset === undefined) continue;
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  }
  return { line: 1, column: 1 };
}

function pairOf(map: unknown, key: string | number | undefined): unknown {
  if (!isMap(map)) return undefined;
  return map.items.find((item) => isScalar(item.key) && item.key.value === key)?.key;
}

function manifestError(file: string, at: { line: number; column: number }, reason: string, cause: unknown): AppError {
  return new AppError('validation.manifest', `${file}:${at.line}:${at.column}: ${reason}`, {
    details: { file, ...at, reason },
    cause,
  });
}

/** `*` for any run of characters, `?` for one; everything else is itself. */
function globPattern(glob: string): RegExp {
  const escaped = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${escaped}$`, 's');
}
