import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { limits } from '../../../common/limits.ts';
import { checkManifest } from '../../../common/manifest/manifest.ts';
import { formatMistake } from '../../../common/manifest/mistake.ts';

/** All mistakes, as `line:column: reason`. */
function mistakes(text: string): readonly string[] {
  const checked = checkManifest(text, 'm');
  return checked.ok ? [] : checked.mistakes.map((mistake) => formatMistake(mistake).slice('m:'.length));
}

describe('every mistake is told at once', () => {
  test('in the order of the file, contradictions among them', () => {
    const text = `nodes: [{name: n1}, {name: n1}]
config:
  enforcement_mode: actve
  check_intervall: 3
containers:
  - {nam: a, image: x, node: n2}
  - {name: a, image: x}
  - {name: a, image: x}
audit: {trak_x: true, track_y: 3, require_signed_commits: maybe}
metadata: [1]
`;
    assert.deepEqual(mistakes(text), [
      '1:22: nodes.1.name: "n1" is listed twice, also by nodes.0',
      '3:3: config.enforcement_mode: Invalid option: expected one of "active"|"passive"|"audit"',
      '4:3: config: unknown key "check_intervall"; is it "check_interval"?',
      '6:6: containers.0: unknown key "nam"; is it "name"?',
      '6:24: containers.0.node: "n2" is not in nodes',
      '8:6: containers.2.name: "a" is wanted twice, also by containers.1',
      '9:9: audit: unknown key "trak_x"',
      '9:23: audit.track_y: expected true or false',
      '9:35: audit.require_signed_commits: expected true or false',
      '10:1: metadata: expected a map',
    ]);
  });

  test('keys that stand twice beside what else is wrong', () => {
    assert.deepEqual(mistakes('nodes: []\nnodes: []\nflx: {}\n'), [
      '2:1: the key "nodes" stands here twice',
      '3:1: unknown key "flx"; is it "flux"?',
    ]);
  });

  test('but of a text that is no YAML only where that is so', () => {
    const told = mistakes('containers: [a\nflx: {}\n');
    assert.ok(told.length > 0);
    for (const one of told) assert.doesNotMatch(one, /unknown key/);
  });

  test('up to a bound', () => {
    const text = Array.from({ length: 2_000 }, (_, i) => `k${i}: 1`).join('\n');
    assert.equal(mistakes(text).length, limits.maxManifestMistakes);
  });
});

test('as many mistakes as fit into a file, without the time of their square', () => {
  const lines = (item: string, count: number) => Array.from({ length: count }, () => `  - ${item}`).join('\n');
  const texts = [
    (count: number) => `containers:\n${lines('{nam: 1, x: 2}', count)}`,
    (count: number) => `nodes: [{name: n}]\ncontainers:\n${lines('{name: a, node: m}', count)}`,
    (count: number) => `containers:\n${lines('{name: [], image: 1}', count)}`,
  ];
  // Of the processor, which others may use too; a square would be 64 times as much.
  const costs = (text: string) => {
    const before = process.cpuUsage();
    assert.equal(mistakes(text).length, limits.maxManifestMistakes);
    const { user, system } = process.cpuUsage(before);
    return user + system;
  };
  for (const text of texts) {
    costs(text(1_900));
    const [few, many] = [costs(text(1_900)), costs(text(15_200))];
    assert.ok(many < 24 * few, `${many / few} times`);
  }
});

describe('a mistake says what would be right', () => {
  const cases: readonly [text: string, expected: string][] = [
    [
      'config: {exceptions: []}',
      '1:10: config: unknown key "exceptions"; it belongs into drift_rules.unauthorized_containers',
    ],
    ['check_interval: 60', '1:1: unknown key "check_interval"; it belongs into config'],
    ['nodes: [{name: n1, k8s_enabld: true}]', '1:20: nodes.0: unknown key "k8s_enabld"; is it "k8s_enabled"?'],
    [
      'drift_rules: {image_drift: {action: terminate}}',
      '1:29: drift_rules.image_drift.action: Invalid option: expected one of "rollback"|"alert"|"ignore"',
    ],
    [
      'alerting: {conditions: [{name: x, severity: bad}]}',
      '1:35: alerting.conditions.0.severity: Invalid option: expected one of "info"|"warning"|"error"|"critical"',
    ],
    [
      'containers: [{name: a, image: x, bloodline: {creatr: me}}]',
      '1:46: containers.0.bloodline: unknown key "creatr"; is it "creator"?',
    ],
  ];
  for (const [text, expected] of cases) test(text, () => assert.deepEqual(mistakes(text), [expected]));

  const window = (parts: string) => `maintenance_windows: [{name: w, day: sunday, ${parts}}]`;
  const hours = 'start_time: "02:00", end_time: "04:00"';
  const inWindows: readonly [text: string, expected: RegExp][] = [
    [window(`${hours}, timezone: Europe/Berln`), /^1:\d+: maintenance_windows\.0\.timezone: unknown time zone/],
    [window(`${hours}, timezone: "+01:00"`), /timezone: unknown time zone/],
    [window('start_time: "2:00", end_time: "04:00"'), /start_time: expected a time HH:MM/],
    [window('start_time: "24:00", end_time: "04:00"'), /start_time: expected a time HH:MM/],
    [window('start_time: 2, end_time: "04:00"'), /start_time: expected a time such as "02:00"/],
    [window('start_time: "04:00", end_time: "04:00"'), /end_time: the same as start_time/],
    [`maintenance_windows: [{name: w, day: someday, ${hours}}]`, /day: expected monday to sunday, daily, or a list/],
    [`maintenance_windows: [{name: w, day: [], ${hours}}]`, /day: expected monday to sunday, daily, or a list/],
  ];
  for (const [text, expected] of inWindows) {
    test(text, () => {
      const [told, ...others] = mistakes(text);
      assert.match(told ?? '', expected);
      assert.deepEqual(others, []);
    });
  }
});

describe('what nothing reads is bounded', () => {
  test('in depth, also where it stands inside itself', () => {
    const deep = `metadata: ${'{a: '.repeat(30)}1${'}'.repeat(30)}`;
    assert.match(mistakes(deep)[0] ?? '', /^1:1: metadata: deeper than 16 levels/);
    assert.match(mistakes('metadata: &m {a: *m}')[0] ?? '', /metadata: deeper than|alias/i);
  });

  test('in number, also through aliases', () => {
    const wide = `metadata: {a: [${Array(10_001).fill(1).join(', ')}]}`;
    assert.match(mistakes(wide)[0] ?? '', /^1:1: metadata: more than 10000 values/);
    const blown = [
      'refinery:',
      `  a: &a [${Array(900).fill(1).join(', ')}]`,
      `  b: [${Array(40).fill('*a').join(', ')}]`,
    ];
    assert.match(mistakes(blown.join('\n'))[0] ?? '', /refinery: more than 10000 values/);
  });
});

test('a mistake quotes no value, which may be a secret', () => {
  for (const text of [
    'config: {discord_webhook: [hush]}',
    'config: {discord_webhook: {hush: hush-hush}}',
    'alerting: {channels: [{type: hush, webhook_url: 7}]}',
    'config: {enforcement_mode: hush}',
  ]) {
    const told = mistakes(text).join('\n');
    assert.notEqual(told, '');
    assert.doesNotMatch(told, /hush/);
  }
});
