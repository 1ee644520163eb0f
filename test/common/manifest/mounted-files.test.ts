import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../../common/errors.ts';
import { compileDesired, desiredDigest } from '../../../common/manifest/compile.ts';
import { type ManifestFiles, parseManifestFiles } from '../../../common/manifest/files.ts';
import { manifestFile } from '../../../common/manifest/manifest.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const files = (manifest: string, compose?: string): ManifestFiles =>
  new Map([
    [manifestFile, manifest],
    ...(compose === undefined ? [] : [['manifests/docker/c.yaml', compose] as const]),
  ]);
const desiredOf = (all: ManifestFiles) => compileDesired(parseManifestFiles(all), 'lyra');

test('content that manifest and compose files want is wanted of their containers, and changes what is desired', () => {
  const said = (key: string) => `${key}: {/etc/a.conf: "${digest}"}`;
  const compose = (more: string) => `services: {web: {image: x, container_name: web, ${more}}}`;
  const list = (more: string) => `containers: [{name: db, image: x, ${more}}]`;
  const both = desiredOf(files(list(said('mounted_files')), compose(said('x-mounted-files'))));
  assert.deepEqual(
    both.containers.map(({ name, mountedFiles }) => [name, mountedFiles]),
    [
      ['db', { '/etc/a.conf': digest }],
      ['web', { '/etc/a.conf': digest }],
    ],
  );
  const [neither, one] = [list('user: "1"'), list(`user: "1", ${said('mounted_files')}`)];
  assert.notEqual(desiredDigest(desiredOf(files(neither))), desiredDigest(desiredOf(files(one))));
});

test('a compose file says it of a service, and a place where it would mean nothing is refused', () => {
  const atTop = `x-mounted-files: {/a: "${digest}"}\nservices: {web: {image: x}}`;
  assert.throws(
    () => desiredOf(files('nodes: []', atTop)),
    (thrown) => thrown instanceof AppError && thrown.code === 'validation.manifest',
  );
});
