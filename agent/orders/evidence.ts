import { hash } from 'node:crypto';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { toAppError } from '../../common/errors.ts';
import { clip } from '../../common/fields.ts';
import type { Body } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { makeFolder, writeDurably } from '../data/durable-file.ts';
import type { EngineControl, RestartPolicy } from '../docker/control.ts';
import type { IssuedOrder } from './issued.ts';

/** What the ledger is told of the evidence: enough to know later that the file is the one that was written. */
export type EvidenceSummary = NonNullable<Body<'order.result'>['evidence']>;

/** Where what is left of containers is kept: one file for each order, named by its hash, for its owner's eyes only. */
export interface EvidenceFolder {
  /** Resolved means on disk. */
  keep(hash: string, text: string): Promise<void>;
  has(hash: string): Promise<boolean>;
  /** Undefined when there is none, or it cannot be read. */
  read(hash: string): Promise<string | undefined>;
  /** Removes files older than `limits.ordersRememberedMs`. */
  prune(nowMs: number): Promise<void>;
}

export function fsEvidence(dir: string): EvidenceFolder {
  const fileOf = (name: string) => join(dir, `${name}.json`);
  return {
    keep: async (name, text) => {
      await makeFolder(dir);
      await writeDurably(fileOf(name), text);
    },
    has: async (name) => (await stat(fileOf(name)).catch(() => undefined)) !== undefined,
    read: (name) => readFile(fileOf(name), 'utf8').catch(() => undefined),
    prune: async (nowMs) => {
      for (const name of await readdir(dir).catch(() => [])) {
        const found = await stat(join(dir, name)).catch(() => undefined);
        if (found !== undefined && nowMs - found.mtimeMs > limits.ordersRememberedMs)
          await rm(join(dir, name), { force: true });
      }
    },
  };
}

/**
 * Writes down what is known of a container that is about to be changed for good: how it was made, what it printed last, which of its
 * files differ from the image; and the order with its proof. All of that may hold secrets and stays on the node; the ledger gets
 * the digest. What the engine does not tell is named in its place: a container that resists being looked at is no reason not to
 * stop it. A file that cannot be written is.
 * @throws what `EvidenceFolder.keep` throws.
 */
export async function gatherEvidence(
  { hash: name, order, approvals, proof }: Omit<IssuedOrder, 'proof'> & { readonly proof: IssuedOrder['proof'] | null },
  { id, imageId }: { readonly id: string; readonly imageId: string },
  { control, folder, at }: { readonly control: EngineControl; readonly folder: EvidenceFolder; readonly at: string },
): Promise<EvidenceSummary> {
  const [inspect, log, changes] = await Promise.all([
    told(control.rawInspect(id)),
    told(control.logs(id, limits.evidenceLogLines)),
    told(control.changes(id)),
  ]);
  const text = `${JSON.stringify({ at, order, approvals, proof, inspect, log, changes }, null, 1)}\n`;
  await folder.keep(name, text);
  return {
    sha256: hash('sha256', text, 'hex'),
    bytes: Buffer.byteLength(text),
    imageId: clip(imageId),
    changedFiles: 'value' in changes ? changes.value.length : 0,
    logBytes: 'value' in log ? Buffer.byteLength(log.value) : 0,
  };
}

type Told<T> = { readonly value: T } | { readonly unknown: string };

async function told<T>(answer: Promise<T>): Promise<Told<T>> {
  try {
    return { value: await answer };
  } catch (thrown) {
    return { unknown: toAppError(thrown).message };
  }
}

const inspected = z.object({
  inspect: z.object({
    value: z.object({
      HostConfig: z.object({ RestartPolicy: z.object({ Name: z.string(), MaximumRetryCount: z.int().default(0) }) }),
    }),
  }),
});

/** The restart policy that a container had before it was touched, by its evidence; undefined where that does not say. */
export async function restartBefore(
  folder: Pick<EvidenceFolder, 'read'>,
  hashOfOrder: string,
): Promise<RestartPolicy | undefined> {
  const text = await folder.read(hashOfOrder);
  if (text === undefined) return undefined;
  try {
    return inspected.parse(JSON.parse(text)).inspect.value.HostConfig.RestartPolicy;
  } catch {
    return undefined;
  }
}
