import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AppError } from '../../../common/errors.ts';
import { parseCompose } from '../../../common/manifest/compose.ts';
import { formatWarning } from '../../../common/manifest/warnings.ts';

function parse(text: string) {
  return parseCompose({ path: 'manifests/docker/c.yaml', text }, () => undefined);
}

function refusedFor(reason: RegExp): (thrown: unknown) => boolean {
  return (thrown) => thrown instanceof AppError && thrown.code === 'validation.manifest' && reason.test(thrown.message);
}

describe('what is needed to make a container is carried, though it is not compared', () => {
  test('mounts of memory, long and short', () => {
    const text = `services:
  web:
    image: x
    network_mode: none
    tmpfs: ["/run:size=64m,mode=0755", /tmp/]
    volumes:
    - {type: tmpfs, target: /a}
    - {type: tmpfs, target: /b, read_only: true, tmpfs: {size: 1m, mode: "1777"}}
`;
    const [web] = parse(text).containers;
    assert.deepEqual(web?.creation, {
      tmpfs: [
        { target: '/a', options: '' },
        { target: '/b', options: 'ro,size=1048576,mode=1777' },
        { target: '/run', options: 'size=64m,mode=0755' },
        { target: '/tmp', options: '' },
      ],
    });
    assert.match(
      parse(text).warnings.map(formatWarning).at(-1) ?? '',
      /:5: services\.web\.tmpfs: mounts of memory are not compared/,
    );
    assert.throws(() => parse('services: {web: {image: x, tmpfs: run}}'), refusedFor(/tmpfs: a target that is a path/));
    assert.throws(() => parse('services: {web: {image: x, tmpfs: "/a:b c"}}'), refusedFor(/tmpfs: options of a mount/));
  });

  test('which keys compose would make it with, and we do not', () => {
    const said = 'image: x, network_mode: none, init: true, read_only: true, build: ., profiles: [p]';
    const unmade = (text: string) => parse(text).containers.map(({ creation }) => creation.unmade);
    const text = `services: {web: {${said}}, b: {image: x}}`;
    assert.deepEqual(unmade(text), [['init', 'read_only'], undefined]);
  });

  test('a service that says no network is on the one that compose makes, unless it has a network mode', () => {
    const networks = (service: string, rest = '') =>
      parse(`name: p\nservices: {web: {image: x${service}}}\n${rest}`).containers[0]?.creation.networks;
    assert.deepEqual(networks(''), [{ name: 'p_default', aliases: ['web'] }]);
    assert.deepEqual(networks(', networks: []'), [{ name: 'p_default', aliases: ['web'] }]);
    assert.deepEqual(networks('', 'networks: {default: {name: front}}'), [{ name: 'front', aliases: ['web'] }]);
    assert.equal(networks(', network_mode: none'), undefined);
  });
});
