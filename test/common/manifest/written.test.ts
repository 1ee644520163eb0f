import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ContainerConfig } from '../../../common/container-config.ts';
import { wantedConfig } from '../../../common/manifest/container-keys.ts';
import { parseManifest } from '../../../common/manifest/manifest.ts';
import { type ConfigKey, configKeys, writtenKey } from '../../../common/manifest/written.ts';
import { type Written, yamlText } from '../../../common/manifest/yaml-text.ts';

const text = fc.string({ unit: 'grapheme' }).filter((one) => !one.includes('\0') && one.isWellFormed());
const name = text.filter((one) => one !== '' && !one.includes('=') && one.length < 200);
const sorted = (items: fc.Arbitrary<string>) => fc.uniqueArray(items, { maxLength: 6 }).map((all) => all.sort());
const port = fc
  .tuple(
    fc.constantFrom('', '127.0.0.1:', '[::1]:'),
    fc.constantFrom('', '80', '8000-8002'),
    fc.constantFrom('tcp', 'udp'),
  )
  .map(([ip, host, protocol]) => `${ip}${host}->9000/${protocol}`);
const mount = fc
  .tuple(fc.constantFrom('', '/srv/a b', 'data', '/$x'), fc.nat(50), fc.constantFrom('ro', 'rw'))
  .map(([source, i, mode]) => `${source}:/t${i}:${mode}`);
const onePerTarget = (all: readonly string[]) => new Set(all.map((one) => one.split(':')[1])).size === all.length;
const capability = fc.constantFrom('NET_ADMIN', 'SYS_TIME', 'CHOWN');

/** What an engine may say of a container. */
const config: fc.Arbitrary<ContainerConfig> = fc.record(
  {
    command: fc.array(text),
    entrypoint: fc.array(text),
    environment: fc.dictionary(name, text, { noNullPrototype: true }),
    ports: sorted(port),
    volumes: sorted(mount).filter(onePerTarget),
    labels: fc.dictionary(name, text, { noNullPrototype: true }),
    user: fc.constantFrom('', '0', '1000:1000', 'nobody', '007'),
    restart_policy: fc.constantFrom('no', 'always', 'unless-stopped', 'on-failure', 'on-failure:3'),
    cap_add: sorted(capability),
    cap_drop: sorted(capability),
    privileged: fc.boolean(),
    network_mode: fc.constantFrom('default', 'host', 'none', 'shop_net', 'container:db', `container:${'a'.repeat(64)}`),
    mem_limit: fc.oneof(fc.constantFrom(0, 1024 ** 3, 1536 * 1024 ** 2, 1000), fc.nat()),
    cpus: fc.nat(10_000_000),
  },
  { noNullPrototype: true },
);

test('however a container is made, what is written of it is read as the same', () => {
  fc.assert(
    fc.property(config, (made) => {
      const item = new Map<string, Written>([
        ['name', 'any'],
        ['image', 'any'],
      ]);
      for (const key of configKeys) item.set(key, writtenKey(key, made[key]) ?? assert.fail(`${key} is not written`));
      const [read] = parseManifest(`containers:\n${yamlText([item], 'block')}\n`).containers;
      assert.deepEqual(wantedConfig(read ?? assert.fail('nothing read')), made);
    }),
  );
});

test('what no manifest can say is not written as something else', () => {
  const cases: readonly (readonly [ConfigKey, ContainerConfig[ConfigKey]])[] = [
    ['ports', ['->*']],
    ['volumes', ['/with:colon:/t:rw']],
    ['volumes', ['npipe//:/t:rw']],
    ['network_mode', 'not a name'],
    ['restart_policy', 'sometimes'],
    ['environment', { '': 'x' }],
    ['environment', { A: 'x'.repeat(32_769) }],
    ['command', ['a\0b']],
    ['cpus', 10_000_001],
  ];
  for (const [key, value] of cases) assert.equal(writtenKey(key, value), undefined, key);
});

test('people would write it so', () => {
  const cases: readonly (readonly [ConfigKey, ContainerConfig[ConfigKey], Written])[] = [
    ['ports', ['127.0.0.1:8080->80/tcp', '53->53/udp'].sort(), ['127.0.0.1:8080:80', '53:53/udp']],
    ['volumes', ['/srv:/data:ro', ':/cache:rw', 'v:/v:rw'].sort(), ['/srv:/data:ro', '/cache', 'v:/v']],
    ['mem_limit', 1536 * 1024 ** 2, '1536m'],
    ['cpus', 1500, 1.5],
    ['network_mode', 'default', 'bridge'],
  ];
  for (const [key, value, written] of cases) assert.deepEqual(writtenKey(key, value), written, key);
});
