import { type AppError, toAppError } from '../../common/errors.ts';
import { type ExchangePorts, takeBundle, type WrittenReturn, writeReturn } from './exchange.ts';
import { bytesOf, type CheckedBundle, checkBundle, readManifest } from './found.ts';
import type { AskedImage, LackingImage } from './images.ts';
import type { PlacedBatch } from './ingest.ts';

/** A bundle whose entries are in the ledger. */
export interface TakenBundle {
  readonly bundle: CheckedBundle;
  readonly entries: number;
  /** Of these, how many were not in the ledger before. */
  readonly fresh: number;
  /** Of the ledger, when it was answered, or taken in. */
  readonly ledgerSize: number;
  /** Undefined where a later bundle of the same node has the answer. */
  readonly answer: WrittenReturn | undefined;
  /** Images that the node asks for and that the answer does not bring. */
  readonly lacking: readonly LackingImage[];
}

/** A bundle that was not taken in. */
export interface FailedBundle {
  readonly folder: string;
  readonly error: AppError;
}

/**
 * Takes in bundles of entries, in this order, and answers of those that were taken in the last one of each node. What a manifest says
 * counts only once its signature holds: one that is refused must not keep another one from its answer.
 * @throws AppError of the one bundle that there is; what is not about a bundle, such as `database.*` and `state.conflict`: run it again.
 */
export async function importAll(
  folders: readonly string[],
  images: readonly AskedImage[],
  ports: ExchangePorts,
): Promise<{ readonly taken: readonly TakenBundle[]; readonly failed: readonly FailedBundle[] }> {
  const taken: TakenBundle[] = [];
  const failed: FailedBundle[] = [];
  const last = new Map<string, LastBundle>();
  for (const folder of folders) {
    try {
      const bundle = await checked(folder, ports);
      const { batches, ...counts } = await takeBundle(bundle, ports);
      const { size } = await ports.ledger.checkpoint();
      const { node, number } = bundle.manifest;
      if (number >= (last.get(node)?.bundle.manifest.number ?? 0))
        last.set(node, { at: taken.length, bundle, batches });
      taken.push({ bundle, ...counts, ledgerSize: size, answer: undefined, lacking: [] });
    } catch (thrown) {
      const error = toAppError(thrown);
      if (folders.length === 1 || !isAboutBundle(error)) throw error;
      failed.push({ folder, error });
    }
  }
  for (const { at, bundle, batches } of last.values()) {
    const asked = await ports.askedImages(bundle.manifest);
    const answer = await writeReturn(bundle, { batches, images: [...images, ...asked.images] }, ports);
    const one = taken[at];
    if (one !== undefined) taken[at] = { ...one, ledgerSize: answer.answered.size, answer, lacking: asked.lacking };
  }
  return { taken, failed };
}

interface LastBundle {
  /** Its place among those that were taken in. */
  readonly at: number;
  readonly bundle: CheckedBundle;
  readonly batches: readonly PlacedBatch[];
}

async function checked(folder: string, { ledger, nodes, onProgress }: ExchangePorts): Promise<CheckedBundle> {
  const total = bytesOf((await readManifest(folder)).body);
  let done = 0;
  const onRead = (bytes: number): void => {
    done += bytes;
    onProgress('checked', done, total);
  };
  return checkBundle(folder, { origin: ledger.origin, nodes, onRead });
}

/** What another bundle may be free of. */
function isAboutBundle({ code, retryable }: AppError): boolean {
  return !retryable && /^(bundle|ledger|validation)\./.test(code) && code !== 'ledger.tampered';
}
