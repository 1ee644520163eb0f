import { isPlainObject } from '../settings/schema.ts';
import { patternOf } from './known-keys.ts';
import { placeOf, type YamlPath } from './place.ts';
import type { Source } from './source.ts';

/** A key that is there and not honoured. */
export interface Warning {
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  /** The path with dots: `containers.0.ports`. */
  readonly key: string;
  readonly reason: string;
}

/** `file:line: key: reason` */
export function formatWarning({ file, line, key, reason }: Warning): string {
  return `${file}:${line}: ${key}: ${reason}`;
}

type Siblings = Readonly<Record<string, unknown>>;

/** Why a key is not honoured; as a function, undefined for a value that is: it asks for what happens anyway. */
type Fate = string | ((value: unknown, siblings: Siblings) => string | undefined);

const honoured: Fate = () => undefined;

/** Honoured where it asks for nothing, or for what happens anyway. */
const unless =
  (honouredValues: readonly unknown[], reason: string): Fate =>
  (value) =>
    honouredValues.includes(value) || (Array.isArray(value) && value.length === 0) ? undefined : reason;

// As YAML 1.2 and 1.1 write them.
const no = [false, 'no', 'No', 'NO', 'off', 'Off', 'OFF'];
const yes = [true, 'yes', 'Yes', 'YES', 'on', 'On', 'ON'];

const forPeople = 'is for people, nothing reads it';
// Whoever may commit must not be able to keep people from hearing of it.
const toldElsewhere = 'has no effect: whom the collector tells of alerts is set up in its settings, alerts.*';
const noConditions =
  'has no effect yet: what is an alert, and how bad it is, is built in; drift and findings are in the ledger and the API';
const throughApi =
  'containers are made through the Engine API, of the compose files below manifests/docker/, whatever this says';
const dockerOnly = 'only Docker is watched';
const notCompared = 'counts when the container is made; a running one is not held against it';
const noFlux = 'Flux is not used: each agent reads the git repository that its setting manifest.repository names';
const mirror = (setting: string) =>
  `the mirror of the ledger in git is set up in the settings of the collector, ${setting}`;
const noProvenance = 'has no effect yet: where a container comes from is not put on record';
const notTracked =
  'has no effect yet: of containers their coming and going, states and images are put on record, nothing else';

/** An address that whoever knows it can send to. */
const secretUrl: Fate = (value) => {
  if (value === '') return undefined;
  return typeof value === 'string' && /^\$\{\w+\}$/.test(value)
    ? `${toldElsewhere}; and variables are not filled in`
    : `${toldElsewhere}; and whoever can read the repository can use this address: a secret belongs into the settings of the collector, not into git`;
};

const gracePeriod: Fate = (_, siblings) =>
  siblings.action === undefined || siblings.action === 'alert' || siblings.action === 'ignore'
    ? 'has no effect: drift is put on record at once, and this rule does nothing else that could wait'
    : undefined;

const replicas: Fate = (value, { type }) =>
  value === 1 || type === 'kubernetes' ? undefined : 'Docker has no replicas: one container of this name is wanted';

/** Of how a container is made, what a running one is held against. */
const comparedKeys = [
  ...['command', 'entrypoint', 'environment', 'ports', 'volumes', 'labels', 'user', 'restart_policy'],
  ...['cap_add', 'cap_drop', 'privileged', 'network_mode', 'mem_limit', 'cpus'],
];

/**
 * What becomes of every key of a manifest. `*` stands for any item of a list, `track_*` for any key that begins so; an
 * entry for a map or list speaks for everything in it.
 */
const fates: Readonly<Record<string, Fate>> = {
  refinery: forPeople,
  metadata: forPeople,

  'nodes.*.name': honoured,
  'nodes.*.role': forPeople,
  'nodes.*.type': forPeople,
  'nodes.*.hostname': forPeople,
  'nodes.*.docker_enabled': unless(yes, 'a node is watched while its agent runs, whatever this says'),
  'nodes.*.k8s_enabled': unless(no, dockerOnly),
  'nodes.*.monitoring': unless(yes, 'a node is watched while its agent runs, whatever this says'),

  'config.check_interval':
    'how often a node is scanned is a setting of its agent, scanIntervalMs; what the engine tells is seen at once',
  'config.drift_detection': honoured,
  'config.auto_rollback': honoured,
  'config.enforcement_mode': honoured,
  'config.ledger_retention_days':
    'how long bodies of entries are kept is a setting of the collector, ledger.retentionDays',
  'config.ledger_format': 'the ledger has one format, signed canonical JSON; "ledger export" writes JSON lines',
  'config.ledger_auto_rotate':
    'the ledger has no files that could be rotated; it grows, and ledger.retentionDays erases',
  'config.git_auto_commit': mirror('ledger.mirror.repository'),
  'config.git_commit_interval': mirror('ledger.mirror.intervalMs'),
  'config.git_branch': mirror('ledger.mirror.branch'),
  'config.git_remote': mirror('ledger.mirror.remote'),
  'config.discord_webhook': secretUrl,
  'config.email_alerts': unless([], toldElsewhere),
  'config.allow_manual_overrides': honoured,
  'config.grace_period_seconds': honoured,

  'flux.enabled': unless(no, noFlux),
  'flux.offline_mode': unless(yes, 'nothing is ever fetched: the repository is a local one'),
  'flux.sync_interval': 'the repository is looked at with each full scan: the setting scanIntervalMs of the agent',
  'flux.source': unless(['local'], noFlux),
  'flux.local_path': noFlux,

  'containers.*.name': honoured,
  'containers.*.image': honoured,
  'containers.*.image_sha': honoured,
  'containers.*.node': honoured,
  'containers.*.type': unless(['docker'], `${dockerOnly}: nobody looks for this container`),
  'containers.*.namespace': `${dockerOnly}, which has no namespaces`,
  'containers.*.replicas': replicas,
  'containers.*.bloodline': forPeople,
  ...Object.fromEntries(comparedKeys.map((key) => [`containers.*.${key}`, honoured])),
  'containers.*.mounted_files': honoured,
  'containers.*.networks': notCompared,
  'containers.*.healthcheck': notCompared,
  'containers.*.tmpfs': notCompared,
  'containers.*.depends_on': 'has no effect: each container is restored by itself, in no order',

  'drift_rules.unauthorized_containers.action': honoured,
  'drift_rules.unauthorized_containers.grace_period': gracePeriod,
  'drift_rules.unauthorized_containers.exceptions': honoured,
  'drift_rules.image_drift.action': honoured,
  'drift_rules.image_drift.grace_period': gracePeriod,
  'drift_rules.image_drift.allow_newer_patches': honoured,
  'drift_rules.missing_containers.action': honoured,
  'drift_rules.missing_containers.grace_period': gracePeriod,
  'drift_rules.config_drift.action': honoured,
  'drift_rules.config_drift.grace_period': gracePeriod,
  'drift_rules.config_drift.check_env_vars': honoured,
  'drift_rules.config_drift.check_ports': honoured,
  'drift_rules.config_drift.check_volumes': honoured,

  'rollback.enabled': honoured,
  'rollback.max_retries': honoured,
  'rollback.retry_delay': honoured,
  'rollback.backup_before_rollback': honoured,
  'rollback.backup_retention': honoured,
  'rollback.docker.method': unless(['api'], throughApi),
  'rollback.docker.compose_file': throughApi,
  'rollback.kubernetes.method': dockerOnly,
  'rollback.kubernetes.manifest_path': dockerOnly,

  'audit.enabled': unless(yes, 'what is seen is always put on record'),
  'audit.log_all_events': unless(yes, 'what is seen is always put on record'),
  'audit.log_level': 'how much is logged is a setting of agent and collector, log.level; the ledger holds everything',
  'audit.require_git_approval': unless(yes, 'only what is committed counts, whatever this says'),
  'audit.require_signed_commits': honoured,
  'audit.immutable_ledger': unless(yes, 'nobody can change the ledger unnoticed, whatever this says'),
  'audit.track_container_creation': unless(yes, 'containers are always put on record'),
  'audit.track_container_deletion': unless(yes, 'containers are always put on record'),
  'audit.track_image_changes': unless(yes, 'images of containers are always put on record'),
  'audit.track_*': unless(no, notTracked),

  'provenance.enabled': unless(no, noProvenance),
  'provenance.track_*': unless(no, noProvenance),

  health_checks:
    'an agent always watches its engine and its repository; its metrics, "status" and "doctor" tell how they are',

  'alerting.enabled': toldElsewhere,
  'alerting.channels.*.type': toldElsewhere,
  'alerting.channels.*.name': toldElsewhere,
  'alerting.channels.*.enabled': toldElsewhere,
  'alerting.channels.*.level': toldElsewhere,
  'alerting.channels.*.webhook_url': secretUrl,
  'alerting.channels.*.recipients': unless([], toldElsewhere),
  'alerting.conditions': unless([], noConditions),

  maintenance_windows: honoured,

  'witnesses.quorum': honoured,
  'witnesses.outside': honoured,
  'witnesses.nodes': honoured,
  governance: honoured,
};

/** What the table speaks of. */
export const patternsWithFate: readonly string[] = Object.keys(fates);

function fateOf(path: YamlPath): Fate | undefined {
  const exact = patternOf(path);
  const prefix = exact.replace(/(^|\.)track_[^.]*$/, '$1track_*');
  return [exact, prefix].filter((pattern) => Object.hasOwn(fates, pattern)).map((pattern) => fates[pattern])[0];
}

/** A warning for every key of `value`, the manifest as it is written, that is not honoured. */
export function keyWarnings(source: Source, value: unknown): Warning[] {
  return membersOf(value, []).flatMap((member) => warningsAt(source, member));
}

interface Member {
  readonly path: YamlPath;
  readonly value: unknown;
  readonly siblings: Siblings;
}

function membersOf(value: unknown, path: YamlPath): Member[] {
  if (Array.isArray(value)) return value.map((item: unknown, i) => ({ path: [...path, i], value: item, siblings: {} }));
  if (!isPlainObject(value)) return [];
  return Object.entries(value).map(([key, item]) => ({ path: [...path, key], value: item, siblings: value }));
}

function warningsAt(source: Source, { path, value, siblings }: Member): Warning[] {
  const fate = fateOf(path);
  if (fate === undefined) return membersOf(value, path).flatMap((member) => warningsAt(source, member));
  const reason = typeof fate === 'string' ? fate : fate(value, siblings);
  return reason === undefined ? [] : [warningAt(source, path, reason)];
}

export function warningAt(source: Source, path: YamlPath, reason: string): Warning {
  return { file: source.file, line: placeOf(source, path).line, key: path.join('.'), reason };
}

/** Maps and lists inside the sections of a manifest; all of whose lines may be commented out. */
const innerSections: readonly YamlPath[] = [
  ['config', 'email_alerts'],
  ['drift_rules', 'unauthorized_containers'],
  ['drift_rules', 'unauthorized_containers', 'exceptions'],
  ['drift_rules', 'image_drift'],
  ['drift_rules', 'missing_containers'],
  ['drift_rules', 'config_drift'],
  ['rollback', 'docker'],
  ['rollback', 'kubernetes'],
  ['alerting', 'channels'],
  ['alerting', 'conditions'],
  ['witnesses', 'outside'],
  ['witnesses', 'nodes'],
];

/**
 * Removes sections without anything in them: all of their lines are commented out, which is as good as not there. Only
 * maps and lists: a container whose `node` is empty must not be wanted everywhere.
 */
export function takeEmptySections(source: Source, manifest: Record<string, unknown>): Warning[] {
  const top = [...new Set(patternsWithFate.map((pattern) => pattern.split('.')[0] ?? ''))];
  const paths: YamlPath[] = [...top.map((key) => [key]), ...innerSections];
  return paths.flatMap((path) => {
    let parent: unknown = manifest;
    for (const step of path.slice(0, -1)) parent = isPlainObject(parent) ? parent[step] : undefined;
    const key = String(path.at(-1));
    if (!isPlainObject(parent) || parent[key] !== null) return [];
    delete parent[key];
    return [warningAt(source, path, 'is empty, and counts as not written')];
  });
}
