import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';

/** One member of an archive: bytes, or where a link leads. */
export type Members = readonly (readonly [name: string, content: Buffer | string | { readonly link: string }])[];

export const sha256 = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex');

export async function tarOf(members: Members): Promise<Buffer> {
  const archive = pack();
  const bytes = buffer(archive);
  for (const [name, content] of members) {
    if (typeof content === 'object' && 'link' in content)
      archive.entry({ name, type: 'symlink', linkname: content.link });
    else archive.entry({ name }, content);
  }
  archive.finalize();
  return bytes;
}

export interface MadeImage {
  readonly id: string;
  readonly members: Members;
}

const layerBytes = [0, 1].map((at) => Buffer.alloc(5_000, `layer ${at} `));

function configOf(layers: readonly Buffer[]): Buffer {
  const diff_ids = layers.map((layer) => `sha256:${sha256(layer)}`);
  return Buffer.from(JSON.stringify({ architecture: 'amd64', rootfs: { type: 'layers', diff_ids } }));
}

/** As engines before 25 write it. */
export function oldImage(layers: readonly Buffer[] = layerBytes): MadeImage {
  const config = configOf(layers);
  const id = sha256(config);
  const paths = layers.map((_, at) => `folder${at}/layer.tar`);
  const manifest = JSON.stringify([{ Config: `${id}.json`, RepoTags: ['app:1'], Layers: paths }]);
  const stored = layers.map((layer, at): [string, Buffer] => [paths[at] ?? '', layer]);
  return { id, members: [[`${id}.json`, config], ...stored, ['manifest.json', manifest]] };
}

/** As an OCI layout, which newer engines write; layers are compressed where the engine keeps them so. */
export function ociImage(compress: (layer: Buffer) => Buffer = gzipSync): MadeImage {
  const config = configOf(layerBytes);
  const id = sha256(config);
  const blob = (bytes: Buffer): [string, Buffer] => [`blobs/sha256/${sha256(bytes)}`, bytes];
  const stored = layerBytes.map((layer) => blob(compress(layer)));
  const [configPath] = blob(config);
  const manifest = JSON.stringify([{ Config: configPath, RepoTags: null, Layers: stored.map(([path]) => path) }]);
  const layout = '{"imageLayoutVersion":"1.0.0"}';
  return { id, members: [['manifest.json', manifest], ...stored, blob(config), ['oci-layout', layout]] };
}
