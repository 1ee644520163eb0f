import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseImageRef, sameImage } from '../../common/image.ts';

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
