import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isNewerPatch, parseImageRef, sameImage } from '../../common/image.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const otherDigest = `sha256:${'b'.repeat(64)}`;

describe('an image reference', () => {
  for (const [reference, repository, tag, pinned] of [
    ['nginx', 'docker.io/library/nginx', 'latest', null],
    ['nginx:1.25', 'docker.io/library/nginx', '1.25', null],
    ['library/nginx', 'docker.io/library/nginx', 'latest', null],
    ['grafana/loki:2', 'docker.io/grafana/loki', '2', null],
    ['docker.io/nginx', 'docker.io/library/nginx', 'latest', null],
    ['index.docker.io/nginx', 'docker.io/library/nginx', 'latest', null],
    ['index.docker.io/grafana/loki', 'docker.io/grafana/loki', 'latest', null],
    ['localhost/api', 'localhost/api', 'latest', null],
    ['localhost:5000/api', 'localhost:5000/api', 'latest', null],
    ['registry.local/team/api:1.4', 'registry.local/team/api', '1.4', null],
    ['registry:5000/api', 'registry:5000/api', 'latest', null],
    ['registry:5000/a/b/c:x', 'registry:5000/a/b/c', 'x', null],
    [`nginx@${digest}`, 'docker.io/library/nginx', null, digest],
    [`nginx:1.25@${digest}`, 'docker.io/library/nginx', '1.25', digest],
    [`registry:5000/api@${digest}`, 'registry:5000/api', null, digest],
  ] as const) {
    test(`${reference} is ${repository}`, () => {
      assert.deepEqual(parseImageRef(reference), { repository, tag, digest: pinned });
    });
  }

  test('of any shape is taken apart without failing', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9./:@-]*$/)), (reference) => {
        const parsed = parseImageRef(reference);
        assert.ok(parsed.tag !== null || parsed.digest !== null);
        assert.ok(sameImage(reference, reference));
      }),
    );
  });
});

describe('two references', () => {
  for (const [desired, observed] of [
    ['nginx', 'docker.io/library/nginx:latest'],
    ['index.docker.io/library/nginx:1.25', 'nginx:1.25'],
    [`nginx@${digest}`, `nginx:1.25@${digest}`],
    [`nginx:1.25@${digest}`, `docker.io/library/nginx@${digest}`],
    ['nginx:1.25', `nginx:1.25@${digest}`],
  ] as const) {
    test(`${desired} and ${observed} are the same image`, () => assert.ok(sameImage(desired, observed)));
  }

  for (const [desired, observed] of [
    ['nginx', 'nginx:1.25'],
    ['nginx:1.25', 'nginx:1.26'],
    ['nginx', 'evil/nginx'],
    ['nginx', 'registry.local/nginx'],
    ['nginx', 'registry.local/library/nginx'],
    ['registry:5000/api', 'registry:5001/api'],
    [`nginx@${digest}`, `nginx@${otherDigest}`],
    [`nginx:1.25@${digest}`, `nginx:1.25@${otherDigest}`],
    [`nginx:1.25@${digest}`, 'nginx:1.25'],
    [`nginx@${digest}`, `evil/nginx@${digest}`],
    ['nginx', `nginx@${digest}`],
  ] as const) {
    test(`${desired} and ${observed} are not`, () => assert.ok(!sameImage(desired, observed)));
  }
});

describe('a newer patch', () => {
  for (const [desired, observed] of [
    ['api:1.4.2', 'api:1.4.3'],
    ['api:1.4.9', 'docker.io/library/api:1.4.10'],
    ['api:v1.4.2-alpine', 'api:v1.4.99-alpine'],
    ['registry:5000/a/b:0.0.0+x', 'registry:5000/a/b:0.0.1+x'],
    [`api:1.4.${'9'.repeat(30)}`, `api:1.4.1${'0'.repeat(30)}`],
  ] as const) {
    test(`of ${desired} is ${observed}, and not the other way round`, () => {
      assert.ok(isNewerPatch(desired, observed));
      assert.ok(!isNewerPatch(observed, desired));
    });
  }

  for (const [desired, observed] of [
    ['api:1.4.2', 'api:1.4.2'],
    ['api:1.4.2', 'api:1.5.3'],
    ['api:1.4.2', 'api:2.4.3'],
    ['api:1.4.2', 'api:1.4.3-rc1'],
    ['api:1.4.2-alpine', 'api:1.4.3-slim'],
    ['api:1.4.2-alpine', 'api:1.4.3'],
    ['api:v1.4.2', 'api:1.4.3'],
    ['api:1.4', 'api:1.5'],
    ['api:1.4.2', 'api:1.4.03'],
    ['api:1.4.2', 'api:1.4.3.1'],
    ['api:1.4.2', 'evil/api:1.4.3'],
    ['api:1.4.2', 'registry.local/api:1.4.3'],
    ['api', 'api:1.4.3'],
    [`api:1.4.2@${digest}`, 'api:1.4.3'],
    ['api:1.4.2', `api:1.4.3@${digest}`],
    [`api:1.4.2@${digest}`, `api:1.4.3@${otherDigest}`],
  ] as const) {
    test(`of ${desired} is not ${observed}`, () => assert.ok(!isNewerPatch(desired, observed)));
  }

  test('is one by the numbers alone: the same major and minor, and a greater patch', () => {
    const part = fc.nat({ max: 300 });
    const version = fc.tuple(part, part, part);
    const suffix = fc.constantFrom('', '-alpine', '-alpine3.19', '+build', '_1');
    fc.assert(
      fc.property(version, version, suffix, suffix, (from, to, its, other) => {
        const expected = from[0] === to[0] && from[1] === to[1] && to[2] > from[2] && its === other;
        assert.equal(isNewerPatch(`api:${from.join('.')}${its}`, `api:${to.join('.')}${other}`), expected);
      }),
    );
    fc.assert(
      fc.property(part, part, part, fc.integer({ min: 1, max: 300 }), suffix, (major, minor, patch, more, its) => {
        const reference = (z: number) => `api:${major}.${minor}.${z}${its}`;
        assert.ok(isNewerPatch(reference(patch), reference(patch + more)));
        assert.ok(!isNewerPatch(reference(patch + more), reference(patch)));
      }),
    );
  });

  test('is never the same image, and is decided for references of any shape', () => {
    const any = fc.oneof(fc.string(), fc.stringMatching(/^[a-z]{1,3}:[v0-9.@-]*$/));
    fc.assert(
      fc.property(any, any, (desired, observed) => {
        if (isNewerPatch(desired, observed)) assert.ok(!sameImage(desired, observed));
        assert.ok(!isNewerPatch(desired, desired));
      }),
    );
  });
});
