import { canonicalText } from '../../common/canonical.ts';
import type { DesiredContainer, DesiredState } from '../../common/desired.ts';
import { limits } from '../../common/limits.ts';
import { compileDesired } from '../../common/manifest/compile.ts';
import type { Manifest } from '../../common/manifest/manifest.ts';
import type { ManifestAt } from './ports.ts';

/** Why nothing can be said of how a container was made, by its name. What is not in it can be judged. */
export type Unjudged = ReadonlyMap<string, string>;

/**
 * Where recorded configuration drifts are worth something: how containers are made stays on the nodes, so what another manifest
 * would have found is known only where it wants of a container exactly what the one in force wanted.
 */
export class ConfigGround {
  readonly #manifestAt: ManifestAt;
  readonly #manifests = new Map<string, Promise<Manifest | undefined>>();

  constructor(manifestAt: ManifestAt) {
    this.#manifestAt = manifestAt;
  }

  /**
   * @param desired what is wanted on the node now.
   * @param commit that the node followed then; null for none.
   */
  async unjudged(node: string, desired: DesiredState, commit: string | null): Promise<Unjudged> {
    if (desired.ignored.has('CONFIG_DRIFT')) return new Map();
    const every = (reason: string) => new Map(desired.containers.map(({ name }) => [name, reason]));
    if (commit === null) return every('the node followed no manifest');
    const manifest = await this.#manifestOf(commit);
    if (manifest === undefined) return every(`the manifest of ${commit.slice(0, 12)}, then in force, is not at hand`);
    const before = compileDesired(manifest, node);
    if (before.ignored.has('CONFIG_DRIFT')) return every('the manifest then in force did not look at configurations');
    const wanted = new Map(before.containers.map((container) => [container.name, container]));
    const found = desired.containers.flatMap((container) => {
      const reason = otherwise(container, wanted.get(container.name), { desired, before });
      return reason === undefined ? [] : [[container.name, reason] as const];
    });
    return new Map(found);
  }

  #manifestOf(commit: string): Promise<Manifest | undefined> {
    const known = this.#manifests.get(commit);
    if (known !== undefined) return known;
    const reading = this.#manifestAt(commit);
    this.#manifests.set(commit, reading);
    const [oldest] = this.#manifests.keys();
    if (this.#manifests.size > limits.backtestManifestsKept && oldest !== undefined) this.#manifests.delete(oldest);
    return reading;
  }
}

function otherwise(
  container: DesiredContainer,
  wanted: DesiredContainer | undefined,
  { desired, before }: { readonly desired: DesiredState; readonly before: DesiredState },
): string | undefined {
  if (wanted === undefined) return 'the manifest then in force did not want it';
  const judgedBy = ({ config }: DesiredContainer, { checks }: DesiredState) =>
    canonicalText({ config: { ...config }, checks: { ...checks } });
  return judgedBy(container, desired) === judgedBy(wanted, before)
    ? undefined
    : 'the manifest then in force wanted another configuration';
}
