import { hash } from 'node:crypto';
import { canonicalText } from '../canonical.ts';
import type { Check } from '../config-drift.ts';
import type { DesiredContainer, DesiredState } from '../desired.ts';
import { type DriftKind, driftKinds } from '../drift-kind.ts';
import type { ComposeContainer } from './compose.ts';
import { wantedConfig, wantedCreation, wantedFiles } from './container-keys.ts';
import { matchesGlob } from './glob.ts';
import type { Manifest } from './manifest.ts';
import type { DriftRules } from './rules.ts';

/** The rule that says what is to be done about each kind of drift. */
export const ruleOf: Readonly<Record<DriftKind, keyof DriftRules>> = {
  UNAUTHORIZED_CONTAINER: 'unauthorized_containers',
  MISSING_CONTAINER: 'missing_containers',
  IMAGE_DRIFT: 'image_drift',
  CONFIG_DRIFT: 'config_drift',
};

/** What the manifest wants on one node. */
export function compileDesired(manifest: Manifest, node: string): DesiredState {
  const { drift_rules, config } = manifest;
  const { exceptions } = drift_rules.unauthorized_containers;
  const isIgnored = (kind: DriftKind) => !config.drift_detection || drift_rules[ruleOf[kind]].action === 'ignore';
  return {
    containers: [
      ...manifest.containers.filter((wanted) => wanted.type === 'docker' && isFor(node, wanted)).map(ofManifest),
      ...manifest.services.filter((wanted) => isFor(node, wanted)).map(ofService),
    ],
    ignored: new Set(driftKinds.filter(isIgnored)),
    checks: {
      environment: checkOf(drift_rules.config_drift.check_env_vars),
      ports: checkOf(drift_rules.config_drift.check_ports),
      volumes: checkOf(drift_rules.config_drift.check_volumes),
    },
    newerPatches: drift_rules.image_drift.allow_newer_patches,
    exempt: ({ name }) => exceptions.some((glob) => matchesGlob(glob, name)),
  };
}

/** The containers that a manifest wants on a node, each node's compiled once. */
export function containersOn(manifest: Manifest): (node: string) => readonly DesiredContainer[] {
  const known = new Map<string, readonly DesiredContainer[]>();
  return (node) => {
    const containers = known.get(node) ?? compileDesired(manifest, node).containers;
    known.set(node, containers);
    return containers;
  };
}

function isFor(node: string, wanted: { readonly node?: string | undefined }): boolean {
  return (wanted.node ?? node) === node;
}

function ofManifest(said: Manifest['containers'][number]): DesiredContainer {
  const { name, image, image_sha = null } = said;
  const [config, creation] = [wantedConfig(said), wantedCreation(said)];
  return { name, image, imageId: image_sha, config, creation, ...wantedFiles(said) };
}

/** What pins an image in a compose file is a digest in its reference. */
function ofService({ name, image, config, creation, mountedFiles }: ComposeContainer): DesiredContainer {
  return { name, image, imageId: null, config, creation, ...(mountedFiles && { mountedFiles }) };
}

/** Said, a check is a wish for all containers; unsaid, for those whose entries say something. */
function checkOf(said: boolean | undefined): Check {
  if (said === undefined) return 'said';
  return said ? 'always' : 'never';
}

/** Hex SHA-256 over what is desired: the same for two commits that want the same. */
export function desiredDigest(desired: DesiredState): string {
  const containers = [...desired.containers].sort((a, b) => (a.name < b.name ? -1 : 1));
  return hash('sha256', canonicalText(containers.map((wanted) => ({ ...wanted }))), 'hex');
}
