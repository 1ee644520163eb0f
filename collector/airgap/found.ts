import { basename, join } from 'node:path';
import { linesOf, maxEntryLineBytes, readEntryLine } from '../../common/bundle/lines.ts';
import {
  type BundlePart,
  damagedManifest,
  type EntriesManifest,
  entriesManifest,
  manifestFile,
  type OpenedManifest,
  openManifest,
  requireConsecutive,
  requireSignature,
} from '../../common/bundle/manifest.ts';
import { AlteredFile, requireStamped } from '../../common/bundle/stamped.ts';
import { AppError } from '../../common/errors.ts';
import { verifyBytes } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import type { NodeKey, NodeKeys } from '../ws/ports.ts';
import { manifestText, namesIn, piecesOf } from './files.ts';

/** A bundle of entries whose node has signed it, and whose files are as it says. */
export interface CheckedBundle {
  readonly folder: string;
  readonly manifest: EntriesManifest;
  /** Hex SHA-256 of the manifest. */
  readonly sha256: string;
  readonly key: NodeKey;
}

/**
 * Folders of bundles: the one that is named if it is one itself, else those in it, by node and number.
 * @throws AppError `bundle.damaged` when there is one only that is not complete, `resource.not_found`, `validation.request`.
 */
export async function bundleFolders(dir: string): Promise<readonly string[]> {
  const names = await namesIn(dir);
  const found = names.filter((name) => /^entries-[a-z0-9-]+-[0-9]{6,}$/.test(name)).sort();
  if (found.length === 0 && names.includes(manifestFile)) return [dir];
  if (found.length > limits.maxBundlesInFolder) {
    throw new AppError('validation.request', `${dir} has ${found.length} bundles: name one of them`);
  }
  if (found.length > 0) return found.map((name) => join(dir, name));
  const unfinished = names.find((name) => name.startsWith('entries-') && name.endsWith('.unfinished'));
  if (unfinished === undefined) throw new AppError('resource.not_found', `there is no bundle of entries in ${dir}`);
  throw new AppError(
    'bundle.damaged',
    `${join(dir, unfinished)} is not complete: run "sigilwatch-agent bundle export" with the same folder again, and it goes on`,
  );
}

/** Bytes of all parts. */
export function bytesOf({ parts }: EntriesManifest): number {
  return parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

export async function readManifest(folder: string): Promise<OpenedManifest<EntriesManifest>> {
  const text = await manifestText(folder);
  if (text === undefined) throw damagedManifest('it is missing');
  const opened = openManifest(text, entriesManifest);
  requireConsecutive(opened.body);
  return opened;
}

/**
 * Checks everything about a bundle that can be checked before any of its entries is looked at.
 * @throws AppError `bundle.foreign` for another log, node or key; `bundle.refused` for a revoked node; `bundle.damaged` with file and
 *   offset.
 */
export async function checkBundle(
  folder: string,
  { origin, nodes, onRead }: { origin: string; nodes: NodeKeys; onRead: (bytes: number) => void },
): Promise<CheckedBundle> {
  const opened = await readManifest(folder);
  const { body: manifest, sha256 } = opened;
  const name = basename(folder);
  if (manifest.origin !== origin) {
    throw new AppError('bundle.foreign', `${name} is for the log ${manifest.origin}, and this is ${origin}`);
  }
  const key = await nodes.key(manifest.node);
  if (key === undefined) throw new AppError('bundle.foreign', `${name}: no node ${manifest.node} is enrolled here`);
  if (key.fingerprint !== manifest.fingerprint) {
    throw new AppError(
      'bundle.foreign',
      `${name} was signed by the key ${manifest.fingerprint}, but ${manifest.node} is enrolled with ${key.fingerprint}`,
    );
  }
  requireSignature(opened, key.publicKey, `the key of ${manifest.node}`);
  if (key.revoked) throw revoked(manifest);
  for (const part of manifest.parts) await requirePart(folder, part, { key, onRead });
  return { folder, manifest, sha256, key };
}

export function revoked({ node, fingerprint }: Pick<EntriesManifest, 'node' | 'fingerprint'>): AppError {
  return new AppError('bundle.refused', `the key ${fingerprint} of ${node} was revoked; enrol the node anew`);
}

async function requirePart(
  folder: string,
  part: BundlePart,
  { key, onRead }: { key: NodeKey; onRead: (bytes: number) => void },
): Promise<void> {
  try {
    await requireStamped(piecesOf(join(folder, part.file)), part, (piece) => onRead(piece.length));
  } catch (thrown) {
    if (!(thrown instanceof AlteredFile)) throw thrown;
    const offset = await firstWrongLine(folder, part, key);
    if (offset === undefined) throw thrown;
    const about = `at byte ${offset} or in the line that begins there`;
    throw new AppError('bundle.damaged', `${thrown.message}; it was changed ${about}`, {
      details: { file: part.file, offset },
    });
  }
}

/** Where the first line begins that this node has not signed. */
async function firstWrongLine(folder: string, { file }: BundlePart, key: NodeKey): Promise<number | undefined> {
  for await (const { offset, bytes } of linesOf(piecesOf(join(folder, file)), file, maxEntryLineBytes)) {
    const entry = readEntryLine(bytes);
    if (entry === undefined || !verifyBytes(key.publicKey, entry.bytes, entry.signature)) return offset;
  }
  return undefined;
}
