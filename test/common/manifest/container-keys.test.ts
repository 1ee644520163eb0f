import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { z } from 'zod';
import type { WantedConfig } from '../../../common/container-config.ts';
import {
  composeServiceKeys,
  contradiction,
  manifestContainerKeys,
  wantedConfig,
  wantedFiles,
} from '../../../common/manifest/container-keys.ts';
import { maxArguments, maxPorts, maxValueChars, maxVariables } from '../../../common/manifest/forms.ts';

const manifestItem = z.strictObject(manifestContainerKeys);
const composeService = z.strictObject(composeServiceKeys);

function wanted(keys: unknown): WantedConfig {
  return wantedConfig(manifestItem.parse(keys));
}

/** `path: message` of every issue. */
function refusals(keys: unknown, schema: z.ZodType = manifestItem): string[] {
  const parsed = schema.safeParse(keys);
  assert.ok(!parsed.success, 'it was accepted');
  return parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
}

describe('what is said of a container becomes its configuration in one spelling', () => {
  const cases: readonly [said: Record<string, unknown>, expected: WantedConfig][] = [
    [{}, {}],
    [{ command: 'a "b c"' }, { command: ['a', 'b c'] }],
    [{ command: ['a', 'b c'] }, { command: ['a', 'b c'] }],
    [{ command: null, entrypoint: [] }, { entrypoint: [] }],
    [{ entrypoint: 'tini -- x' }, { entrypoint: ['tini', '--', 'x'] }],
    [{ environment: ['A=1', 'B=', 'C=x=y', 'A=2'] }, { environment: { A: '2', B: '', C: 'x=y' } }],
    [{ environment: { A: 1, B: true, C: 1.5, D: '' } }, { environment: { A: '1', B: 'true', C: '1.5', D: '' } }],
    [{ ports: ['90:80', 8080, '90:80/tcp'] }, { ports: ['->8080/tcp', '90->80/tcp'] }],
    [
      { ports: [{ target: 80, published: '8080', host_ip: '::1', protocol: 'udp', mode: 'host' }, { target: '81' }] },
      { ports: ['->81/tcp', '[::1]:8080->80/udp'] },
    ],
    [{ ports: [{ target: 80, published: '8000-8001' }] }, { ports: ['8000-8001->80/tcp'] }],
    [{ volumes: ['x:/x', '/a:/a:ro', '/y'] }, { volumes: ['/a:/a:ro', ':/y:rw', 'x:/x:rw'] }],
    [
      {
        volumes: [
          { type: 'bind', source: '/a/', target: '/a', read_only: true, bind: { selinux: 'z' } },
          { type: 'volume', target: '/v', volume: { nocopy: true } },
        ],
      },
      { volumes: ['/a:/a:ro', ':/v:rw'] },
    ],
    [{ labels: ['a=1', 'b', 'c=d=e'] }, { labels: { a: '1', b: '', c: 'd=e' } }],
    [{ labels: { a: 1, b: null, c: false } }, { labels: { a: '1', b: '', c: 'false' } }],
    [{ user: 1000 }, { user: '1000' }],
    [{ user: 'nobody:1' }, { user: 'nobody:1' }],
    [{ restart_policy: 'on-failure:3' }, { restart_policy: 'on-failure:3' }],
    [{ restart_policy: false }, { restart_policy: 'no' }],
    [
      { cap_add: ['SYS_TIME', 'cap_chown', 'CHOWN'], cap_drop: ['all'] },
      { cap_add: ['CHOWN', 'SYS_TIME'], cap_drop: ['ALL'] },
    ],
    [{ privileged: true }, { privileged: true }],
    [{ privileged: 'no' }, { privileged: false }],
    [{ network_mode: 'bridge' }, { network_mode: 'default' }],
    [{ mem_limit: '1g' }, { mem_limit: 1_073_741_824 }],
    [{ mem_limit: 4096 }, { mem_limit: 4096 }],
    [{ cpus: 0.5 }, { cpus: 500 }],
    [{ cpus: '2' }, { cpus: 2000 }],
    // These say nothing of the configuration that is compared.
    [{ namespace: 'x', replicas: 2, bloodline: { creator: 'a', created_at: '2024-01-01', purpose: 'b' } }, {}],
    [{ networks: ['a'], healthcheck: { test: 'x' }, depends_on: ['b'] }, {}],
  ];
  for (const [said, expected] of cases) {
    test(JSON.stringify(said).slice(0, 100), () => assert.deepEqual(wanted(said), expected));
  }

  test('a compose service says restart, and may mount what is relative or of memory', () => {
    const said = { restart: 'always', volumes: ['./a:/a', { type: 'tmpfs', target: '/t' }] };
    assert.deepEqual(wantedConfig(composeService.parse(said)), { restart_policy: 'always', volumes: ['./a:/a:rw'] });
  });

  test('and said again as it is spelled, it is the same', () => {
    const said = { command: 'a b', environment: { A: 1 }, labels: ['x'], cap_add: ['cap_chown'], volumes: ['/a/:/b'] };
    const once = wanted(said);
    assert.deepEqual(wanted({ ...once }), once);
  });
});

describe('what belongs to making a container is typed', () => {
  test('its health check', () => {
    const { healthcheck } = manifestItem.parse({
      healthcheck: { test: 'curl -f x', interval: '1m', timeout: '500ms', start_period: '2s', retries: '3' },
    });
    assert.deepEqual(healthcheck, {
      test: ['CMD-SHELL', 'curl -f x'],
      interval_ms: 60_000,
      timeout_ms: 500,
      start_period_ms: 2000,
      retries: 3,
    });
    assert.deepEqual(manifestItem.parse({ healthcheck: { start_interval: '3s' } }).healthcheck, {
      start_interval_ms: 3000,
    });
    assert.deepEqual(manifestItem.parse({ healthcheck: { disable: true } }).healthcheck?.test, ['NONE']);
    assert.deepEqual(manifestItem.parse({ healthcheck: { test: ['CMD', 'x'] } }).healthcheck?.test, ['CMD', 'x']);
  });

  test('its networks', () => {
    const plain = [
      { name: 'a', aliases: [] },
      { name: 'b', aliases: [] },
    ];
    assert.deepEqual(manifestItem.parse({ networks: ['a', 'b'] }).networks, plain);
    assert.deepEqual(manifestItem.parse({ networks: { a: null, b: {} } }).networks, plain);
    assert.deepEqual(manifestItem.parse({ networks: { a: { aliases: ['x'], ipv4_address: '10.0.0.2' } } }).networks, [
      { name: 'a', aliases: ['x'], ipv4_address: '10.0.0.2' },
    ]);
  });

  test('what must be there first', () => {
    assert.deepEqual(manifestItem.parse({ depends_on: ['a'] }).depends_on, [
      { name: 'a', condition: 'service_started', required: true },
    ]);
    const map = { a: { condition: 'service_healthy', restart: true }, b: { required: false } };
    assert.deepEqual(manifestItem.parse({ depends_on: map }).depends_on, [
      { name: 'a', condition: 'service_healthy', required: true },
      { name: 'b', condition: 'service_started', required: false },
    ]);
  });
});

describe('a mistake is named with its path and what is expected', () => {
  const cases: readonly [said: Record<string, unknown>, ...expected: RegExp[]][] = [
    [{ command: 7 }, /^command: a text, or a list of texts$/],
    [{ command: ['sleep', 10] }, /^command\.1: Invalid input: expected string/],
    [{ command: 'a | b' }, /^command: no shell reads this/],
    [{ environment: ['A'] }, /^environment\.0: "A" has no value: it would come from the shell of whoever/],
    [{ environment: { B: 1, A: null } }, /^environment\.A: no value: it would come from the shell of whoever/],
    [{ environment: { 'A=': '' } }, /^environment\.A=: a variable's name without =$/],
    [{ environment: ['=x'] }, /^environment\.0: NAME=value$/],
    [{ environment: { A: [] } }, /^environment\.A: a text, a number or a boolean$/],
    [{ environment: { A: 1e21 } }, /^environment\.A: a number in quotes/],
    [{ environment: { A: 0.00001 } }, /^environment\.A: a number in quotes/],
    [{ environment: 'A=1' }, /^environment: a map, or a list of NAME=value$/],
    [{ environment: { A: 'x\0y' } }, /^environment\.A: text without broken characters$/],
    [{ labels: { a: {} } }, /^labels\.a: a text, a number or a boolean$/],
    [{ labels: [''] }, /^labels\.0: /],
    [{ ports: ['80', '80:90:100:110'] }, /^ports\.1: a port as/],
    [{ ports: [80.5] }, /^ports\.0: a port of the container/],
    [{ ports: [{ published: 80 }] }, /^ports\.0\.target: a text or a number$/],
    [{ ports: [{ target: 80, hostip: '::1' }] }, /^ports\.0: Unrecognized key/],
    [{ ports: '80' }, /^ports: Invalid input: expected array/],
    [{ ports: [null] }, /^ports\.0: a port as text, number or map$/],
    [{ volumes: ['/a:/b', 'c:/b/'] }, /^volumes\.1: another mount already has the target \/b$/],
    [{ volumes: ['./a:/b'] }, /^volumes\.0: "\.\/a" is relative, and git does not say to which folder/],
    [{ volumes: [{ type: 'tmpfs', target: '/t' }] }, /^volumes\.0: bind or volume/],
    [{ volumes: [{ type: 'npipe', target: '/t' }] }, /^volumes\.0\.type: bind, volume or tmpfs/],
    [{ volumes: [{ type: 'bind', target: '/t' }] }, /^volumes\.0: a source that is a path$/],
    [{ volumes: [{ type: 'bind', source: '/a:b', target: '/t' }] }, /^volumes\.0: paths without a colon$/],
    [{ volumes: [{ type: 'volume', target: '/t', volume: { subpath: 'x' } }] }, /^volumes\.0\.volume: Unrecognized/],
    [{ user: null }, /^user: a text or a number$/],
    [{ cap_add: ['CHOWN', 'net-admin'] }, /^cap_add\.1: a capability/],
    [{ privileged: 'maybe' }, /^privileged: true or false$/],
    [{ restart_policy: true }, /^restart_policy: /],
    [{ restart_policy: 'sometimes' }, /^restart_policy: no, always/],
    [{ network_mode: 'service:db' }, /^network_mode: service:NAME is not supported/],
    [{ mem_limit: '1 elephant' }, /^mem_limit: an amount of memory/],
    [{ cpus: 'all' }, /^cpus: a number of processors/],
    [{ networks: { a: { alias: 'x' } } }, /^networks\.a: Unrecognized key/],
    [{ networks: 'a' }, /^networks: a list of names, or a map$/],
    [{ healthcheck: { test: ['curl'] } }, /^healthcheck\.test: a list that begins with NONE/],
    [{ healthcheck: { interval: '5 minutes' } }, /^healthcheck\.interval: a duration/],
    [{ healthcheck: { retries: 'x' } }, /^healthcheck\.retries: /],
    [{ depends_on: { a: { condition: 'ready' } } }, /^depends_on\.a\.condition: /],
    [{ replicas: -1 }, /^replicas: /],
    [{ bloodline: { creater: 'x' } }, /^bloodline: Unrecognized key/],
    [{ restart: 'always' }, /^: Unrecognized key: "restart"/],
    [{ command: 7, cpus: 'x' }, /^command: /, /^cpus: /],
  ];
  for (const [said, ...expected] of cases) {
    test(JSON.stringify(said).slice(0, 100), () => {
      const found = refusals(said);
      assert.equal(found.length, expected.length, found.join('\n'));
      for (const [i, pattern] of expected.entries()) assert.match(found[i] ?? '', pattern);
    });
  }

  test('network_mode and networks exclude each other', () => {
    const said = (keys: unknown) => contradiction(composeService.parse(keys));
    assert.deepEqual(said({ network_mode: 'host', networks: ['a'] }), [
      'network_mode',
      'either network_mode or networks',
    ]);
    assert.equal(said({ network_mode: 'host' }), undefined);
    assert.equal(said({ networks: ['a'] }), undefined);
  });
});

describe('everything is bounded', () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => i);
  const variables = many(maxVariables + 1).map((i) => [`A${i}`, 'x']);
  const cases: readonly [name: string, said: Record<string, unknown>, expected: RegExp][] = [
    ['an argument', { command: ['x'.repeat(maxValueChars + 1)] }, /^command\.0: Too big/],
    ['the arguments', { command: many(maxArguments + 1).map(String) }, /^command: Too big/],
    ['the variables in a map', { environment: Object.fromEntries(variables) }, /^environment: at most 1000 keys/],
    ['the variables in a list', { environment: variables.map((pair) => pair.join('=')) }, /^environment: Too big/],
    ['the ports', { ports: many(maxPorts + 1).map((i) => i + 1) }, /^ports: Too big/],
    ['the ports of many ranges', { ports: many(3).map((i) => `${i}000-${i}999:${i + 1}000-${i + 1}999`) }, /at most/],
  ];
  for (const [name, said, expected] of cases) test(name, () => assert.match(refusals(said).join('\n'), expected));
});

describe('hashes of mounted files', () => {
  const digest = 'a'.repeat(64);

  test('are taken with and without the name of the algorithm, in both kinds of files', () => {
    const said = { '/etc/a.conf': digest, '/etc/b.conf': `sha256:${digest}` };
    const mountedFiles = { '/etc/a.conf': `sha256:${digest}`, '/etc/b.conf': `sha256:${digest}` };
    assert.deepEqual(wantedFiles(manifestItem.parse({ mounted_files: said })), { mountedFiles });
    assert.deepEqual(wantedFiles(composeService.parse({ 'x-mounted-files': said })), { mountedFiles });
    assert.deepEqual([wantedFiles({}), wantedFiles({ mounted_files: {} })], [{}, {}]);
  });

  for (const path of ['etc/a.conf', './a', '/etc//a', '/etc/../a', '/etc/a/', '/']) {
    test(`of ${path} are refused: one file has one path`, () => {
      const [refused = ''] = refusals({ mounted_files: { [path]: digest } });
      assert.ok(refused.startsWith(`mounted_files.${path}: `), refused);
    });
  }

  test('that are none are refused where they stand', () => {
    assert.deepEqual(refusals({ mounted_files: { '/a': 'md5:1' } }), ['mounted_files./a: sha256:<64 hex digits>']);
  });
});
