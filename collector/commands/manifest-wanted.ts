import type { WantedConfig } from '../../common/container-config.ts';
import { AppError } from '../../common/errors.ts';
import { compileDesired } from '../../common/manifest/compile.ts';
import type { Manifest } from '../../common/manifest/manifest.ts';

/** What a manifest without mistakes would have run. */
export interface WantedByManifest {
  readonly file: string;
  /** Every node that the manifest names, with the number of containers wanted there. */
  readonly nodes: readonly { readonly node: string; readonly containers: number }[];
  /** Containers wanted on every node, which are also counted at each. */
  readonly everywhere: number;
  /** Containers that nobody looks for, since they are not for Docker. */
  readonly not_watched: number;
  /** What is wanted on the one node that was asked for. */
  readonly on_node: WantedOnNode | null;
  readonly manifest: Manifest;
}

export interface WantedOnNode {
  readonly node: string;
  readonly containers: readonly {
    readonly name: string;
    readonly image: string;
    readonly image_sha: string | null;
    /** What of the way it is made is said. */
    readonly config: WantedConfig;
  }[];
}

/** @throws AppError `validation.request` when the manifest knows its nodes, and `only` is none of them. */
export function wantedBy(manifest: Manifest, file: string, only: string | undefined): WantedByManifest {
  const { nodes, containers, services } = manifest;
  const listed = nodes.map(({ name }) => name);
  const docker = [...containers.filter(({ type }) => type === 'docker'), ...services];
  const named = new Set([...listed, ...docker.flatMap(({ node }) => node ?? [])]);
  if (only !== undefined && listed.length > 0 && !named.has(only)) {
    throw new AppError('validation.request', `"${only}" is not in nodes of ${file}: ${listed.join(', ')}`);
  }
  return {
    file,
    nodes: [...named].map((node) => ({ node, containers: compileDesired(manifest, node).containers.length })),
    everywhere: docker.filter(({ node }) => node === undefined).length,
    not_watched: containers.length + services.length - docker.length,
    on_node: only === undefined ? null : wantedOn(manifest, only),
    manifest,
  };
}

function wantedOn(manifest: Manifest, node: string): WantedOnNode {
  const { containers } = compileDesired(manifest, node);
  return {
    node,
    containers: containers.map(({ name, image, imageId, config }) => ({ name, image, image_sha: imageId, config })),
  };
}
