import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  type EntriesManifest,
  imagePartName,
  manifestFile,
  messagesFile,
  type ReturnedFile,
  type ReturnManifest,
  sealManifest,
} from '../../common/bundle/manifest.ts';
import { openCheckpoint } from '../../common/checkpoint.ts';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import type { KeyPair } from '../../common/keys.ts';
import { parseVerifierKey } from '../../common/note.ts';
import type { CollectorMessage } from '../../common/protocol.ts';
import { recordAct } from '../auth/audit.ts';
import { local } from '../auth/caller.ts';
import type { AuthRecorder } from '../auth/ports.ts';
import type { NodeKeys, SessionLedger } from '../ws/ports.ts';
import type { VerifyEntries } from '../ws/verify.ts';
import { type Answered, answer, type Told } from './answer.ts';
import type { ImageEngine } from './engine.ts';
import { createParts, createStamped, putInPlace, unwritable } from './files.ts';
import { bytesOf, type CheckedBundle } from './found.ts';
import { type Askable, type AskedImage, imageName, writeImage } from './images.ts';
import { ingest, type PlacedBatch } from './ingest.ts';
import type { Returned } from './returned.ts';
import { type TellingPorts, toldTo } from './told.ts';

/** The steps of an import, in this order. */
export type Step = 'checked' | 'ingested' | 'answered' | 'images';

export interface ExchangePorts {
  readonly ledger: SessionLedger & { readonly vkey: string };
  /** Where it goes on record that a bundle is taken in. */
  readonly recorder: AuthRecorder;
  readonly keys: KeyPair;
  readonly nodes: NodeKeys;
  readonly verify: VerifyEntries;
  readonly telling: TellingPorts;
  readonly returned: Returned;
  readonly clock: Clock;
  readonly random: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** Which of the images that a node asks for it gets. Never rejects. */
  readonly askedImages: (manifest: Pick<EntriesManifest, 'node' | 'images'>) => Promise<Askable>;
  /** Where the images come from that are no files. */
  readonly engine: ImageEngine;
  /** Of one file with a part of an image archive. */
  readonly maxPartBytes: number;
  /** Hears how far a step is. Throws to stop, which may be at any moment. */
  readonly onProgress: (step: Step, done: number, of: number) => void;
}

/** What goes into a return bundle beside what waits for its node. */
export interface ReturnContent {
  /** Where the entries of the bundle are in the ledger. */
  readonly batches: readonly PlacedBatch[];
  readonly images: readonly AskedImage[];
}

/** A return bundle that is complete. */
export interface WrittenReturn {
  readonly returnFolder: string;
  readonly answered: Answered;
  readonly commit: string | null;
  readonly images: readonly string[];
}

/**
 * Appends what a bundle holds; the collector's side of a node's exchange without a wire, as far as `collector/ws/session.ts` is for one
 * with it. Rates do not apply: whoever carries a bundle has waited long enough.
 * @throws AppError as `ingest`; `ledger.tampered` when the node holds a checkpoint that this ledger does not lead to.
 */
export async function takeBundle(bundle: CheckedBundle, ports: ExchangePorts) {
  const { ledger, onProgress } = ports;
  const { manifest } = bundle;
  // Before anything is appended: if the database was put back, the node knows more than we do.
  if (manifest.checkpoint !== null) await ledger.confront(manifest.checkpoint);
  const before = await ledger.authorHead(manifest.node);
  const { first, last } = rangeOf(manifest);
  const fresh = Math.max(0, last - Math.max(before.seq, first - 1));
  // Before it is done, as every write. One that brings nothing new writes nothing.
  if (fresh > 0) await recordImport(bundle, ports.recorder);
  const total = bytesOf(manifest);
  let done = 0;
  const batches = await ingest(bundle, {
    ...ports,
    over: () => false,
    onTaken: (bytes) => {
      done += bytes;
      onProgress('ingested', done, total);
    },
  });
  return { batches, entries: last - first + 1, fresh };
}

/** By whoever acts on the collector's own machine, who has no other name here. */
function recordImport({ manifest, sha256 }: CheckedBundle, recorder: AuthRecorder): Promise<void> {
  const { first, last } = rangeOf(manifest);
  const detail = `bundle ${manifest.number}, entries ${first} to ${last}, manifest SHA-256 ${sha256}`;
  return recordAct(
    { ledger: recorder, actor: local.actor },
    { event: 'bundle.imported', subject: manifest.node, detail },
  );
}

/** Numbers of the first and last entry; the last is one less than the first where there is none. */
export function rangeOf({ acked, parts }: EntriesManifest): { readonly first: number; readonly last: number } {
  return { first: acked.seq + 1, last: parts.at(-1)?.last ?? acked.seq };
}

/** Where the answer to a bundle goes: beside it. */
export function returnFolderOf({ folder, manifest }: CheckedBundle): string {
  return join(dirname(folder), `return-${manifest.node}-${String(manifest.number).padStart(6, '0')}`);
}

/**
 * Writes the return bundle of a bundle that was taken in; nothing is left of one that cannot be written.
 * Crash points: until its last step it has another name, and is made anew by the next run.
 * @throws AppError `state.conflict` when it cannot be written; as `writeImage`.
 */
export async function writeReturn(
  bundle: CheckedBundle,
  content: ReturnContent,
  ports: ExchangePorts,
): Promise<WrittenReturn> {
  const folder = `${returnFolderOf(bundle)}.unfinished`;
  try {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder);
  } catch (cause) {
    throw unwritable(folder, cause);
  }
  try {
    return await fillReturn(folder, bundle, content, ports);
  } catch (thrown) {
    // Made anew by the next run; a stick may have no room for both.
    await rm(folder, { recursive: true, force: true }).catch(() => {});
    throw thrown;
  }
}

async function fillReturn(
  folder: string,
  bundle: CheckedBundle,
  { batches, images }: ReturnContent,
  ports: ExchangePorts,
): Promise<WrittenReturn> {
  const { manifest } = bundle;
  const path = returnFolderOf(bundle);
  const told = { batches, ...(await toldTo(manifest.node, manifest.holding, ports.telling)) };
  const { answered, file } = await writeMessages(folder, manifest, told, ports);
  const files = [{ ...file, image: null }, ...(await writeImages(folder, images, ports))];
  const from = await bridges(manifest, answered, ports);
  const commit = told.desired?.commit ?? null;
  const body = returnBody(bundle, { answered, from, commit, files }, ports);
  await writeFile(join(folder, manifestFile), sealManifest(body, ports.keys.privateKey), { flush: true }).catch(
    (cause: unknown) => Promise.reject(unwritable(folder, cause)),
  );
  // First what the node may hold then, so that a later answer leads there.
  await ports.returned.add(manifest.node, answered.size);
  await putInPlace(folder, path);
  return { returnFolder: path, answered, commit, images: images.map(imageName) };
}

interface ReturnParts extends Pick<ReturnManifest, 'from' | 'commit' | 'files'> {
  readonly answered: Answered;
}

function returnBody(
  { manifest, sha256 }: CheckedBundle,
  { answered, from, commit, files }: ReturnParts,
  { clock }: ExchangePorts,
): ReturnManifest {
  const { node, fingerprint, origin, number } = manifest;
  const { note: checkpoint, receipts, orders, measures } = answered;
  return {
    ...{ v: 1, type: 'return', node, fingerprint, origin, number, answers: sha256 },
    madeAt: rfc3339(clock.now()),
    ...{ checkpoint, from: [...from], receipts, orders, measures, commit, files: [...files] },
  };
}

async function writeMessages(folder: string, { node }: EntriesManifest, told: Told, ports: ExchangePorts) {
  const { ledger, clock, onProgress } = ports;
  const file = await createStamped(folder, messagesFile);
  const of = told.batches.flat().reduce((sum, { length }) => sum + length, 0);
  let done = 0;
  try {
    const answered = await answer(told, {
      ...{ ledger, clock, node },
      write: (message: CollectorMessage) => file.write(Buffer.from(`${JSON.stringify(message)}\n`)),
      onAcknowledged: (entries) => {
        done += entries;
        onProgress('answered', done, of);
      },
    });
    return { answered, file: await file.close() };
  } catch (thrown) {
    await file.abandon();
    throw thrown;
  }
}

async function writeImages(folder: string, images: readonly AskedImage[], ports: ExchangePorts) {
  const { engine, maxPartBytes, onProgress } = ports;
  const files: ReturnedFile[] = [];
  let done = 0;
  for (const [at, image] of images.entries()) {
    const name = `image-${String(at + 1).padStart(3, '0')}.tar`;
    const file = createParts(folder, (number) => imagePartName(name, number), maxPartBytes);
    try {
      const onBytes = (bytes: number): void => {
        done += bytes;
        onProgress('images', done, Number.POSITIVE_INFINITY);
      };
      await writeImage(image, { engine, to: file, onBytes });
      files.push(...(await file.close()).map((part) => ({ ...part, image: imageName(image) })));
    } catch (thrown) {
      await file.abandon();
      throw thrown;
    }
  }
  return files;
}

/** From what the node held when it exported, and from what earlier answers may have brought it since. */
async function bridges({ node, checkpoint }: EntriesManifest, { size }: Answered, ports: ExchangePorts) {
  const { ledger, returned } = ports;
  const logKey = parseVerifierKey(ledger.vkey);
  const held = checkpoint === null ? 0 : openCheckpoint(checkpoint, logKey).checkpoint.size;
  const sizes = new Set([held, ...(await returned.sizes(node))].filter((one) => one <= size));
  const found: ReturnManifest['from'] = [];
  for (const one of sizes) {
    const consistency = (await ledger.consistency(one, size)).map((hash) => hash.toString('base64'));
    found.push({ size: one, consistency });
  }
  return found;
}
