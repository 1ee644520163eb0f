import { amount } from '../../common/amount.ts';
import type { Clock } from '../../common/clock.ts';
import { type Drift, diff } from '../../common/drift.ts';
import { type AppError, toAppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { limits } from '../../common/limits.ts';
import { readCommitted } from '../../common/manifest/committed.ts';
import { compileDesired } from '../../common/manifest/compile.ts';
import { parseManifestFiles } from '../../common/manifest/files.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import type { AgentSettings } from '../config.ts';
import { gitRepository } from '../desired/git.ts';
import { createImages, observedOf, stateToJudge } from '../docker/images.ts';
import { createMountedFiles } from '../docker/mounted-files.ts';
import { scanContainers } from '../docker/scanner.ts';
import { storeLines } from '../integrity/text.ts';
import { scanFully, unsettled } from '../sigils/full-scan.ts';
import type { ScanResult } from '../sigils/scan.ts';
import { engineOf } from '../sources.ts';

/** One look at everything, without collector, outbox or identity. Each part that failed says why. */
export interface ScanOutcome {
  readonly node: string;
  readonly containers: readonly ObservedContainer[];
  readonly unobserved: readonly string[];
  readonly commit: string | null;
  readonly drifts: readonly Drift[];
  readonly stores: readonly Omit<ScanResult, 'state'>[];
  /** What could not be looked at. */
  readonly errors: readonly { readonly part: string; readonly code: string; readonly message: string }[];
}

/** Scans engine, manifest and sigil stores once. Changes nothing, on disk or elsewhere. */
export async function scanOnce(settings: AgentSettings, node: string, clock: Clock): Promise<ScanOutcome> {
  const errors: { part: string; code: string; message: string }[] = [];
  const attempt = async <T>(part: string, look: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await look();
    } catch (thrown) {
      const { code, message }: AppError = toAppError(thrown);
      errors.push({ part, code, message });
      return undefined;
    }
  };
  const engine = engineOf(settings);
  const scan = await attempt('engine', () => scanContainers(engine, { concurrency: limits.inspectConcurrency }));
  const desired = await attempt('manifest', () => readDesired(settings, node));
  const stores: Omit<ScanResult, 'state'>[] = [];
  for (const [name, place] of Object.entries(settings.sigils.stores)) {
    const part = `store ${name}`;
    const result = await attempt(part, () => scanFully({ name, place }, { secrets: settings.sigils.secrets, clock }));
    if (result === undefined) continue;
    const { state: _, ...shown } = result;
    stores.push(shown);
    const rest = unsettled(result);
    if (rest !== undefined) errors.push({ part, code: rest.code, message: rest.message });
  }
  const unobserved = new Map(scan?.unobserved.map(({ id, name }) => [id, name]));
  const looked = { containers: scan?.containers ?? new Map(), unobserved, atMs: clock.now() };
  const images = createImages(engine, (imageId, { code, message }) => {
    errors.push({ part: `image ${imageId}`, code, message });
  });
  const state = desired && (await stateToJudge(looked, desired.desired, images, createMountedFiles({ clock })));
  const drifts = scan && desired && state ? diff(desired.desired, state) : [];
  return {
    node,
    containers: [...observedOf(looked.containers).values()],
    unobserved: [...unobserved.keys()],
    commit: desired?.commit ?? null,
    drifts,
    stores,
    errors,
  };
}

/** 0 clean, 1 something was found, 2 something could not be looked at. */
export function scanExitCode({ drifts, stores, unobserved, errors }: ScanOutcome): number {
  if (errors.length > 0 || unobserved.length > 0) return exitCodes.usage;
  return drifts.length > 0 || stores.some(({ findings }) => findings.length > 0) ? exitCodes.findings : exitCodes.done;
}

/** The outcome for a person. */
export function formatScan(outcome: ScanOutcome): string {
  const lines = [
    `node ${outcome.node}: ${amount(outcome.containers.length, 'container')}, ${amount(outcome.stores.length, 'sigil store')}`,
  ];
  const manifest =
    outcome.commit === null ? 'no manifest, nothing to compare with' : `manifest of ${outcome.commit.slice(0, 12)}`;
  lines.push(`${manifest}: ${amount(outcome.drifts.length, 'drift')}`);
  for (const { kind, container, differences } of outcome.drifts) {
    lines.push(`  ${kind}  ${container}`);
    for (const { field, desired, observed } of differences) {
      lines.push(`    ${field}: desired ${desired ?? 'nothing'}, observed ${observed ?? 'nothing'}`);
    }
  }
  for (const store of outcome.stores) lines.push(...storeLines({ ...store, counts: store }));
  for (const { part, code, message } of outcome.errors) lines.push(`could not look at ${part}: ${message} (${code})`);
  return `${lines.join('\n')}\n`;
}

async function readDesired(settings: AgentSettings, node: string) {
  if (settings.manifest.repository === undefined) return undefined;
  const repository = gitRepository(settings.manifest.repository);
  const commit = await repository.head();
  const manifest = parseManifestFiles(await readCommitted(repository, commit));
  return { commit, desired: compileDesired(manifest, node) };
}
