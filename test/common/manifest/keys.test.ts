import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { compileDesired } from '../../../common/manifest/compile.ts';
import { keyPatterns } from '../../../common/manifest/known-keys.ts';
import { checkManifest, type Manifest, manifestSchema, parseManifest } from '../../../common/manifest/manifest.ts';
import { formatWarning, patternsWithFate } from '../../../common/manifest/warnings.ts';

const vectors = new URL('../../vectors/manifests/', import.meta.url);
const vector = (name: string) => readFileSync(new URL(name, vectors), 'utf8');
const full = vector('four-nodes.yaml');

/** Every key of a value as a pattern: `containers.*.image`, maps and lists without anything in them included. */
function patternsOf(value: unknown, path: readonly string[] = []): string[] {
  const members: [string, unknown][] = Array.isArray(value)
    ? value.map((item: unknown) => ['*', item])
    : typeof value === 'object' && value !== null
      ? Object.entries(value)
      : [];
  if (members.length === 0) return [path.join('.')];
  return members.flatMap(([key, item]) => patternsOf(item, [...path, key]));
}

/** Whether the pattern itself, or one that speaks for everything in it, is among `known`. */
function isCovered(pattern: string, known: readonly string[]): boolean {
  const tracked = pattern.replace(/\.track_\w+$/, '.track_*');
  return known.some((one) => one === pattern || one === tracked || pattern.startsWith(`${one}.`));
}

/** Keys of the full vector whose values ask for what happens anyway. */
const honoured = [
  'nodes.*.name',
  'nodes.*.docker_enabled',
  'nodes.*.k8s_enabled',
  'nodes.*.monitoring',
  'config.drift_detection',
  'config.allow_manual_overrides',
  'flux.offline_mode',
  'flux.source',
  'containers.*.name',
  'containers.*.type',
  'containers.*.image',
  'containers.*.image_sha',
  'containers.*.node',
  'containers.*.replicas',
  'containers.*.command.*',
  'containers.*.entrypoint',
  'containers.*.environment.API_MODE',
  'containers.*.environment.API_WORKERS',
  'containers.*.ports.*',
  'containers.*.volumes.*',
  'containers.*.mounted_files./etc/api/api.toml',
  'containers.*.labels.app',
  'containers.*.labels.tier',
  'containers.*.user',
  'containers.*.restart_policy',
  'containers.*.cap_add.*',
  'containers.*.cap_drop.*',
  'containers.*.privileged',
  'containers.*.network_mode',
  'containers.*.mem_limit',
  'containers.*.cpus',
  'drift_rules.unauthorized_containers.exceptions.*',
  'drift_rules.image_drift.allow_newer_patches',
  'drift_rules.config_drift.action',
  'drift_rules.config_drift.check_env_vars',
  'drift_rules.config_drift.check_ports',
  'drift_rules.config_drift.check_volumes',
  'audit.enabled',
  'audit.log_all_events',
  'audit.track_container_creation',
  'audit.track_container_deletion',
  'audit.track_image_changes',
  'audit.require_signed_commits',
  'audit.immutable_ledger',
  'config.auto_rollback',
  'config.enforcement_mode',
  'config.grace_period_seconds',
  'drift_rules.unauthorized_containers.action',
  'drift_rules.unauthorized_containers.grace_period',
  'drift_rules.image_drift.action',
  'drift_rules.image_drift.grace_period',
  'drift_rules.missing_containers.action',
  'drift_rules.missing_containers.grace_period',
  'rollback.enabled',
  'rollback.max_retries',
  'rollback.retry_delay',
  'rollback.backup_before_rollback',
  'rollback.backup_retention',
  'maintenance_windows.*.name',
  'maintenance_windows.*.day',
  'maintenance_windows.*.day.*',
  'maintenance_windows.*.start_time',
  'maintenance_windows.*.end_time',
  'maintenance_windows.*.timezone',
  'maintenance_windows.*.disable_auto_rollback',
  'maintenance_windows.*.allow_drift',
  'governance.daily_limit',
  'governance.cooldown',
  'governance.blast_radius',
  'governance.approvals.terminate',
  'governance.approvals.restore',
  'governance.approvals.rollback',
  'governance.approvals.quarantine',
  'governance.approvals.release',
  'governance.approvers.*',
  'governance.approval_time',
  'governance.freeze_nodes',
  'governance.settling_time',
  'governance.witnessed_orders',
  'governance.when_offline',
  'governance.offline_after',
  'witnesses.quorum',
  'witnesses.outside',
  'witnesses.nodes',
];

describe('every key', () => {
  const schemaPatterns = keyPatterns(manifestSchema);

  test('that the schema takes is honoured, or has a reason why not', () => {
    assert.ok(schemaPatterns.length > 100, `${schemaPatterns.length} keys`);
    const isSection = (pattern: string) => patternsWithFate.some((one) => one.startsWith(`${pattern}.`));
    assert.deepEqual(
      schemaPatterns.filter((pattern) => !isCovered(pattern, patternsWithFate) && !isSection(pattern)),
      [],
    );
  });

  test('that has a reason is one that the schema takes', () => {
    const plain = patternsWithFate.filter((pattern) => !pattern.includes('.track_'));
    assert.deepEqual(
      plain.filter((pattern) => !schemaPatterns.includes(pattern)),
      [],
    );
  });

  test('stands in the full manifest', () => {
    const written = patternsOf(parse(full, { merge: true }));
    assert.deepEqual(
      patternsWithFate.filter(
        (pattern) =>
          !pattern.includes('track_*') && !written.some((one) => one === pattern || one.startsWith(`${pattern}.`)),
      ),
      [],
    );
  });

  test('of the full manifest is honoured or named in a warning', () => {
    const { warnings } = parseManifest(full);
    const warned = warnings.map(({ key }) => key.replace(/\.\d+/g, '.*'));
    const silent = patternsOf(parse(full, { merge: true })).filter((pattern) => !isCovered(pattern, warned));
    assert.deepEqual([...new Set(silent)].sort(), honoured.filter((pattern) => !warned.includes(pattern)).sort());
    for (const { reason } of warnings) assert.ok(reason.length > 20 && !/^has no effect yet$/.test(reason), reason);
  });

  test('of a warning stands on the line it names', () => {
    const lines = full.split('\n');
    for (const { key, line } of parseManifest(full).warnings) {
      const name = key.split('.').at(-1) ?? '';
      // What came in through an alias stands where that is.
      assert.ok((lines[line - 1] ?? '').includes(name) || key.startsWith('containers.2.'), `${key} in line ${line}`);
    }
  });
});

describe('a manifest as it is written today', () => {
  for (const name of readdirSync(vectors)) {
    test(`loads without a mistake: ${name}`, () => {
      const checked = checkManifest(vector(name), name);
      assert.deepEqual(checked.ok ? [] : checked.mistakes, []);
    });
  }

  test('keeps what it says, typed', () => {
    const manifest = parseManifest(full);
    const { config, drift_rules: rules, rollback, audit, alerting } = manifest;
    assert.deepEqual([config.check_interval_ms, config.git_commit_interval_ms], [60_000, 300_000]);
    assert.deepEqual([config.enforcement_mode, config.ledger_retention_days], ['active', 365]);
    assert.deepEqual([rollback.retry_delay_ms, rollback.backup_retention_ms], [30_000, 7 * 86_400_000]);
    assert.equal(rules.unauthorized_containers.grace_period_ms, 60_000);
    assert.equal(rules.image_drift.grace_period_ms, 300_000);
    assert.equal(audit.require_signed_commits, true);
    assert.equal(audit.tracks.track_network_changes, true);
    assert.deepEqual(
      alerting.conditions.map(({ severity }) => severity),
      ['critical', 'error', 'warning'],
    );
    assert.deepEqual(
      manifest.nodes.map((node) => [node.docker_enabled, node.k8s_enabled, node.monitoring]),
      [
        [true, true, true],
        [true, false, true],
        [true, false, true],
        [true, false, true],
      ],
    );
    assert.deepEqual(
      compileDesired(manifest, 'node2').containers.map(({ name }) => name),
      ['node-exporter'],
    );
  });

  test('has its sections commented out: as if they were not there, and that is said', () => {
    const empty = parseManifest(vector('all-commented-out.yaml'), 'm.yaml');
    assert.deepEqual([empty.containers, empty.maintenance_windows, empty.alerting.channels], [[], [], []]);
    assert.equal(
      formatWarning(empty.warnings[0] ?? assert.fail()),
      'm.yaml:4: containers: is empty, and counts as not written',
    );
  });

  test('has a container whose node is empty: refused, not wanted everywhere', () => {
    assert.equal(checkManifest('containers:\n  - {name: a, image: x, node: }\n').ok, false);
  });
});

describe('what is not written', () => {
  const nothing: Manifest = parseManifest('nodes: []');

  test('is what does least', () => {
    assert.equal(nothing.config.enforcement_mode, 'audit');
    assert.deepEqual([nothing.config.auto_rollback, nothing.rollback.enabled], [false, false]);
    assert.deepEqual(
      Object.values(nothing.drift_rules).map(({ action }) => action),
      ['alert', 'alert', 'alert', 'alert'],
    );
    assert.deepEqual(nothing.warnings, []);
  });

  test('gives every rule the grace period of config.grace_period_seconds, and five minutes without it', () => {
    const graces = ({ drift_rules }: Manifest) =>
      Object.values(drift_rules).map((rule) => rule.grace_period_ms / 1_000);
    assert.deepEqual(graces(nothing), [300, 300, 300, 300]);
    const given = 'config: {grace_period_seconds: 90}\ndrift_rules: {image_drift: {grace_period: 0}}\n';
    assert.deepEqual(graces(parseManifest(given)), [90, 0, 90, 90]);
  });
});

describe('rules', () => {
  const ignored = (text: string) => [...compileDesired(parseManifest(text), 'n1').ignored].sort();

  test('that ignore, and drift detection that is off, make drift nobody looks for', () => {
    assert.deepEqual(ignored('nodes: []'), []);
    assert.deepEqual(ignored('drift_rules: {config_drift: {action: ignore}}'), ['CONFIG_DRIFT']);
    assert.equal(ignored('config: {drift_detection: false}').length, 4);
  });
});

describe('periods', () => {
  const interval = (written: string): number | string => {
    const checked = checkManifest(`config: {check_interval: ${written}}`);
    return checked.ok ? checked.manifest.config.check_interval_ms : checked.first.reason;
  };
  const cases: readonly [written: string, ms: number][] = [
    ['60', 60_000],
    ['"60"', 60_000],
    ['1.5', 1_500],
    ['60s', 60_000],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['1d', 86_400_000],
    ['1w', 604_800_000],
    ['1500ms', 1_500],
  ];
  for (const [written, ms] of cases) test(`${written} is ${ms} ms`, () => assert.equal(interval(written), ms));

  for (const written of ['soon', '-1', '""', '5 minutes', '1e999', '.nan', '[60]', '0', '999999d']) {
    test(`${written} is refused`, () =>
      assert.match(String(interval(written)), /^config\.check_interval: expected a /));
  }
});
