import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { AppError } from '../../common/errors.ts';
import type { SettingIssue } from '../../common/settings/issue.ts';
import { formatSettings, knownSettings, loadSettings } from '../../common/settings.ts';

const schema = z.strictObject({
  collector: z.strictObject({
    url: z.url(),
    token: z
      .string()
      .min(3)
      .meta({ secret: true, env: ['JOIN_TOKEN'] })
      .optional(),
  }),
  scan: z.strictObject({
    intervalMs: z.int().min(1_000).max(3_600_000).default(60_000),
    stores: z.array(z.string().min(1)).default([]),
    share: z.number().positive().lt(1).default(0.5),
    paused: z.boolean().default(false),
  }),
  listen: z.union([z.literal('off'), z.int()]).default('off'),
  channels: z.array(z.strictObject({ name: z.string(), pass: z.string().meta({ secret: true }) })).default([]),
  logLevel: z.enum(['debug', 'info']).default('info'),
});

const url = { SIGILWATCH_COLLECTOR_URL: 'http://127.0.0.1:1' };

function load(env: Record<string, string | undefined>, yamlText?: string) {
  return loadSettings({ schema, env, yamlText, yamlPath: '/etc/a.yaml', readFile });
}

function readFile(path: string): string {
  if (path === '/run/token') return 'hush-hush\n';
  throw Object.assign(new Error('no'), { code: 'ENOENT' });
}

function issuesOf(env: Record<string, string | undefined>, yamlText?: string): SettingIssue[] {
  const error = refusal(() => load(env, yamlText));
  assert.equal(error.code, 'validation.config');
  const issues = error.details.issues;
  assert.ok(Array.isArray(issues));
  return issues;
}

function refusal(run: () => unknown): AppError {
  try {
    run();
  } catch (thrown) {
    assert.ok(thrown instanceof AppError, String(thrown));
    return thrown;
  }
  return assert.fail('the settings were accepted');
}

describe('where values come from', () => {
  test('defaults apply inside sections that nobody mentions', () => {
    assert.deepEqual(load(url).values, {
      collector: { url: 'http://127.0.0.1:1' },
      scan: { intervalMs: 60_000, stores: [], share: 0.5, paused: false },
      listen: 'off',
      channels: [],
      logLevel: 'info',
    });
  });

  test('the environment wins over the file, the file over defaults', () => {
    const yaml = 'scan:\n  intervalMs: 5000\n  paused: true\nlogLevel: debug\n';
    const { values } = load({ ...url, SIGILWATCH_SCAN_INTERVAL_MS: '7000' }, yaml);
    assert.equal(values.scan.intervalMs, 7_000);
    assert.equal(values.scan.paused, true);
    assert.equal(values.logLevel, 'debug');
    assert.equal(values.scan.share, 0.5);
  });

  test('text becomes numbers, booleans, lists and alternatives', () => {
    const { values } = load({
      ...url,
      SIGILWATCH_SCAN_SHARE: '0.25',
      SIGILWATCH_SCAN_PAUSED: 'Yes',
      SIGILWATCH_SCAN_STORES: '/a, /b ,',
      SIGILWATCH_LISTEN: '9464',
      SIGILWATCH_CHANNELS: '[{"name":"ops","pass":"p"}]',
    });
    assert.deepEqual(values.scan, { intervalMs: 60_000, stores: ['/a', '/b'], share: 0.25, paused: true });
    assert.equal(values.listen, 9464);
    assert.deepEqual(values.channels, [{ name: 'ops', pass: 'p' }]);
    assert.deepEqual(load({ ...url, SIGILWATCH_SCAN_STORES: '["/a,b"]' }).values.scan.stores, ['/a,b']);
    assert.equal(load({ ...url, SIGILWATCH_LISTEN: 'off' }).values.listen, 'off');
  });

  test('an empty variable counts as not set, and a section of comments as absent', () => {
    const { values } = load({ ...url, SIGILWATCH_LOG_LEVEL: '' }, 'scan:\n  # intervalMs: 1\nlogLevel: debug\n');
    assert.equal(values.logLevel, 'debug');
    assert.equal(values.scan.intervalMs, 60_000);
  });

  test('an alias sets the key and the mechanical name wins over it', () => {
    assert.equal(load({ ...url, JOIN_TOKEN: 'alias' }).values.collector.token, 'alias');
    const both = { ...url, JOIN_TOKEN: 'alias', SIGILWATCH_COLLECTOR_TOKEN: 'name' };
    assert.equal(load(both).values.collector.token, 'name');
  });

  test('a secret can be read from a file, without its last newline', () => {
    assert.equal(load({ ...url, JOIN_TOKEN_FILE: '/run/token' }).values.collector.token, 'hush-hush');
  });

  test('YAML aliases and the variables that are no settings are understood', () => {
    const yaml = 'scan:\n  stores: &all [/a]\ncollector: &c\n  url: http://x\n';
    assert.deepEqual(load({ SIGILWATCH_CONFIG: '/etc/a.yaml', SIGILWATCH_TEST_LONG: '1' }, yaml).values.scan.stores, [
      '/a',
    ]);
  });
});

describe('what is refused', () => {
  test('every fault is reported at once with key, value, source and what is accepted', () => {
    const env = { SIGILWATCH_SCAN_INTERVAL_MS: 'fast', SIGILWATCH_SCAN_STORE: '/x', SIGILWATCH_SCAN_SHARE: '1' };
    const issues = issuesOf(env, 'logLevel: loud\nscan:\n  stores: [a, 4]\n');
    assert.deepEqual(
      issues.map(({ key, value, source, accepted }) => [key, value, source, accepted]),
      [
        ['SIGILWATCH_SCAN_STORE', '"/x"', 'env SIGILWATCH_SCAN_STORE', 'SIGILWATCH_SCAN_STORES (the nearest)'],
        ['collector.url', undefined, 'neither env SIGILWATCH_COLLECTOR_URL nor the settings file', 'a URL'],
        ['scan.intervalMs', '"fast"', 'env SIGILWATCH_SCAN_INTERVAL_MS', 'a whole number from 1000 to 3600000'],
        ['scan.stores[1]', '4', 'file /etc/a.yaml:3:15', 'text that is not empty'],
        ['scan.share', '1', 'env SIGILWATCH_SCAN_SHARE', 'a number above 0 below 1'],
        ['logLevel', '"loud"', 'file /etc/a.yaml:1:11', 'one of "debug", "info"'],
      ],
    );
  });

  test('the message carries the same facts, one line per fault', () => {
    const { message } = refusal(() => load({ ...url, SIGILWATCH_LOG_LEVEL: 'loud' }));
    assert.equal(
      message,
      '1 setting is wrong:\n  logLevel: "loud" from env SIGILWATCH_LOG_LEVEL is refused; accepted: one of "debug", "info"',
    );
  });

  test('an unknown key in the file is refused with its place and the nearest key', () => {
    const [issue, ...more] = issuesOf(url, 'scan:\n  intervalms: 5\n');
    assert.equal(issue?.source, 'file /etc/a.yaml:2:3');
    assert.match(issue?.accepted ?? '', /^scan\.intervalMs /);
    assert.deepEqual(more, []);
    assert.match(issuesOf(url, 'zzzzzzzzz: 1')[0]?.accepted ?? '', /^one of collector, scan, listen/);
    assert.equal(issuesOf(url, 'scan.intervalMs: 5000')[0]?.problem, 'is not a setting');
  });

  test('a file that is not a YAML map is refused with line and column, never with its text', () => {
    const [issue, ...more] = issuesOf({}, 'collector: {token: hush\nx: [');
    assert.match(issue?.source ?? '', /^file \/etc\/a\.yaml:2:/);
    assert.match(issue?.problem ?? '', /not valid YAML/);
    assert.ok([issue, ...more].every((each) => !JSON.stringify(each).includes('hush')));
    assert.equal(issuesOf(url, '- a')[0]?.problem, 'is not a section');
    assert.equal(issuesOf(url, 'scan: 5')[0]?.source, 'file /etc/a.yaml:1:7');
    assert.match(issuesOf(url, 'logLevel: info\nlogLevel: debug')[0]?.problem ?? '', /duplicate key/);
    assert.match(issuesOf(url, 'logLevel: !secret x')[0]?.problem ?? '', /not valid YAML/);
  });

  test('a null in the file is a value, not an absence', () => {
    assert.equal(issuesOf(url, 'logLevel:\n')[0]?.value, 'null');
  });

  test('a secret given both ways, or in a file that cannot be read, is one clear fault', () => {
    const twice = issuesOf({ ...url, JOIN_TOKEN: 'abc', JOIN_TOKEN_FILE: '/run/token' });
    assert.deepEqual([twice.length, twice[0]?.problem], [1, 'are both set']);
    const unreadable = issuesOf({ ...url, JOIN_TOKEN_FILE: '/nowhere' });
    assert.match(unreadable[0]?.problem ?? '', /cannot be read \(ENOENT\)/);
    assert.equal(unreadable.length, 1);
  });

  test('a rule over several settings is reported in its own words', () => {
    const ruled = z.strictObject({ a: z.int().default(2), b: z.int().default(1) }).refine(({ a, b }) => a < b, {
      message: 'a below b',
    });
    const { message } = refusal(() => loadSettings({ schema: ruled, env: {} }));
    assert.match(message, /\(settings\): the settings together break a rule; accepted: a below b/);
  });

  test('two settings under one variable are a fault of the program', () => {
    const clash = z.strictObject({ aB: z.string().optional(), a: z.strictObject({ b: z.string().optional() }) });
    assert.equal(refusal(() => knownSettings(clash, 'X_')).code, 'internal.error');
  });
});

describe('secrets', () => {
  const places: readonly [string, Record<string, string>, string][] = [
    ['refused value', { JOIN_TOKEN: 'S3' }, ''],
    ['refused value in the file', {}, 'collector:\n  token: [S3cret]\n'],
    ['mistyped variable', { SIGILWATCH_COLLECTR_TOKEN: 'S3cret' }, ''],
    ['foreign variable', { SIGILWATCH_PGURL: 'postgres://u:S3cret@h/db' }, ''],
    ['mistyped key', {}, 'collector:\n  tokn: S3cret\n'],
    ['mistyped section', {}, 'colector:\n  token: S3cret\n'],
    ['member of a list', {}, 'channels: [{name: a, pass: [S3cret]}]\n'],
    ['mistyped member of a list', {}, 'channels: [{name: a, pas: S3cret}]\n'],
    ['list that is not JSON', { SIGILWATCH_CHANNELS: '[{"pass":"S3cret"' }, ''],
    ['list that is a map', {}, 'channels: {pass: S3cret}\n'],
  ];
  for (const [name, env, yaml] of places) {
    test(`never appear in an error: ${name}`, () => {
      const error = refusal(() => load({ ...url, ...env }, yaml));
      assert.doesNotMatch(error.message + JSON.stringify(error.details), /S3/);
    });
  }

  test('never appear among the effective settings', () => {
    const { values, effective } = load({ ...url, JOIN_TOKEN: 'S3cret' }, 'channels: [{name: a, pass: S3cret}]');
    assert.equal(values.collector.token, 'S3cret');
    assert.doesNotMatch(formatSettings(effective), /S3/);
  });
});

describe('effective settings', () => {
  test('are printed as YAML with the source of each value', () => {
    const env = { ...url, JOIN_TOKEN_FILE: '/run/token' };
    assert.equal(
      formatSettings(load(env, 'scan:\n  intervalMs: 5000\n').effective),
      `collector:
  url: "http://127.0.0.1:1" # env SIGILWATCH_COLLECTOR_URL
  token: "********" # env JOIN_TOKEN_FILE
scan:
  intervalMs: 5000 # file /etc/a.yaml:2:15
  stores: [] # default
  share: 0.5 # default
  paused: false # default
listen: "off" # default
channels: [] # default
logLevel: "info" # default
`,
    );
    assert.match(formatSettings(load(url).effective), /^ {2}# token: not set$/m);
  });

  test('load again to the same values, whatever they are', () => {
    const values = fc.record({
      stores: fc.array(fc.string({ minLength: 1, unit: 'binary' })),
      intervalMs: fc.integer({ min: 1_000, max: 3_600_000 }),
      listen: fc.oneof(fc.constant('off'), fc.integer()),
    });
    fc.assert(
      fc.property(values, ({ stores, intervalMs, listen }) => {
        const env = {
          ...url,
          SIGILWATCH_SCAN_STORES: JSON.stringify(stores),
          SIGILWATCH_SCAN_INTERVAL_MS: String(intervalMs),
          SIGILWATCH_LISTEN: String(listen),
        };
        const first = load(env);
        assert.deepEqual(first.values.scan.stores, stores);
        assert.deepEqual(load({}, formatSettings(first.effective)).values, first.values);
      }),
    );
  });

  test('no text in the environment or the file makes the loader fail in another way', () => {
    const names = ['SIGILWATCH_CHANNELS', 'SIGILWATCH_LISTEN', 'SIGILWATCH_SCAN_STORES', 'SIGILWATCH_X'];
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), fc.string()), fc.string(), (env, yaml) => {
        try {
          load({ ...url, ...env }, yaml);
        } catch (thrown) {
          assert.ok(thrown instanceof AppError && thrown.code === 'validation.config', String(thrown));
        }
      }),
    );
  });
});
