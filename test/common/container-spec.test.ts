import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { WantedConfig, WantedCreation } from '../../common/container-config.ts';
import { containerSpec } from '../../common/container-spec.ts';
import type { DesiredContainer } from '../../common/desired.ts';

const pinned = `sha256:${'ab'.repeat(32)}`;

function wanted(config: WantedConfig = {}, creation: WantedCreation = {}, imageId: string | null = null) {
  return { name: 'web', image: 'web:1', imageId, config, creation } satisfies DesiredContainer;
}

function bodyOf(config: WantedConfig, creation: WantedCreation = {}, mounted: readonly string[] = []) {
  return containerSpec(wanted(config, creation), { labels: {}, mounted }).body;
}

describe('the body a container is made of', () => {
  test('says nothing that the manifest does not say', () => {
    assert.deepEqual(bodyOf({}), { Image: 'web:1', Labels: {}, HostConfig: {} });
  });

  test('names a pinned image by its id, else by its reference', () => {
    const named = (imageId: string | null) => containerSpec(wanted({}, {}, imageId), { labels: {} }).body.Image;
    assert.deepEqual([named(pinned), named(null)], [pinned, 'web:1']);
  });

  test('has the labels of whoever makes it, unless the manifest wants them otherwise', () => {
    const labels = { a: 'ours', b: 'ours' };
    const { body } = containerSpec(wanted({ labels: { b: 'theirs', c: 'theirs' } }), { labels });
    assert.deepEqual(body.Labels, { a: 'ours', b: 'theirs', c: 'theirs' });
  });

  test('publishes ports on addresses and ranges, several of the host for one of the container too', () => {
    const ports = ['->80/tcp', '127.0.0.1:8080->80/tcp', '8000-8002->90/udp', '[::1]:53->53/udp'];
    const { ExposedPorts, HostConfig } = bodyOf({ ports });
    assert.deepEqual(ExposedPorts, { '80/tcp': {}, '90/udp': {}, '53/udp': {} });
    assert.deepEqual(HostConfig.PortBindings, {
      '80/tcp': [
        { HostIp: '', HostPort: '' },
        { HostIp: '127.0.0.1', HostPort: '8080' },
      ],
      '90/udp': [{ HostIp: '', HostPort: '8000-8002' }],
      '53/udp': [{ HostIp: '::1', HostPort: '53' }],
    });
  });

  test('mounts folders, named and anonymous volumes, and memory', () => {
    const volumes = [':/anonymous:rw', '/srv:/srv:ro', 'data:/data:rw'];
    const { HostConfig } = bodyOf({ volumes }, { tmpfs: [{ target: '/run', options: 'size=1m' }] });
    assert.deepEqual(HostConfig, {
      Binds: ['/srv:/srv:ro', 'data:/data:rw'],
      Mounts: [{ Type: 'volume', Target: '/anonymous', ReadOnly: false }],
      Tmpfs: { '/run': 'size=1m' },
    });
  });

  test('takes the folder that git does not say from the container that is replaced, on the same target in the same mode', () => {
    const volumes = ['./conf:/conf:ro'];
    assert.deepEqual(bodyOf({ volumes }, {}, ['/x:/conf:rw', '/opt/shop/conf:/conf:ro']).HostConfig.Binds, [
      '/opt/shop/conf:/conf:ro',
    ]);
    for (const mounted of [[], ['/x:/conf:rw'], ['data:/conf:ro']]) {
      assert.throws(() => bodyOf({ volumes: ['~/conf:/conf:ro'] }, {}, mounted), { code: 'validation.manifest' });
    }
  });

  test('begins with the first network and is to be connected to the others', () => {
    const networks = [
      { name: 'front', aliases: ['web'], ipv4_address: '10.0.0.2' },
      { name: 'back', aliases: [] },
    ];
    const { body, connectTo } = containerSpec(wanted({}, { networks }), { labels: {} });
    assert.equal(body.HostConfig.NetworkMode, 'front');
    assert.deepEqual(body.NetworkingConfig?.EndpointsConfig, {
      front: { Aliases: ['web'], IPAMConfig: { IPv4Address: '10.0.0.2' } },
    });
    assert.deepEqual(connectTo, [{ network: 'back', endpoint: {} }]);
    assert.deepEqual(bodyOf({ network_mode: 'host' }).HostConfig, { NetworkMode: 'host' });
  });

  test('counts times in nanoseconds, processors in billionths, retries by the number', () => {
    const healthcheck = { test: ['CMD', 'x'], interval_ms: 1_500, timeout_ms: 2, start_period_ms: 3, retries: 4 };
    const body = bodyOf({ cpus: 1_500, mem_limit: 64, restart_policy: 'on-failure:3' }, { healthcheck });
    assert.deepEqual(body.Healthcheck, {
      ...{ Test: ['CMD', 'x'], Interval: 1_500_000_000, Timeout: 2_000_000, StartPeriod: 3_000_000, Retries: 4 },
    });
    assert.deepEqual(body.HostConfig, {
      ...{ NanoCpus: 1_500_000_000, Memory: 64 },
      RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 },
    });
    assert.deepEqual(bodyOf({ restart_policy: 'no' }).HostConfig.RestartPolicy, { Name: 'no' });
  });
});
