import assert from 'node:assert/strict';
import { createHash, createPublicKey, verify } from 'node:crypto';

/**
 * An auditor as anybody could write one: knows the published standards (C2SP signed-note, tlog-checkpoint, tlog-tiles; RFC
 * 6962), the log's verifier key and its address, and uses none of our code.
 */

const tileWidth = 256;
/** DER head of an Ed25519 public key (RFC 8410). */
const spkiHead = Buffer.from('302a300506032b6570032100', 'hex');

export interface Head {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
}

/** @throws unless the note is signed with the key. */
export function openNote(note: string, vkey: string): Head {
  const split = note.indexOf('\n\n') + 1;
  const text = note.slice(0, split);
  const [name = '', id = ''] = vkey.split('+');
  // Base64 has a plus of its own.
  const key = vkey.slice(name.length + id.length + 2);
  const spki = Buffer.concat([spkiHead, Buffer.from(key, 'base64').subarray(1)]);
  const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  const line = note
    .slice(split + 1)
    .split('\n')
    .find((candidate) => candidate.startsWith(`\u2014 ${name} `));
  const signature = Buffer.from(line?.split(' ')[2] ?? '', 'base64');
  assert.equal(signature.toString('hex', 0, 4), id, 'the key id');
  assert.ok(verify(null, Buffer.from(text), publicKey, signature.subarray(4)), 'the signature of the checkpoint');
  const [origin = '', size, root = ''] = text.split('\n');
  return { origin, size: Number(size), root: Buffer.from(root, 'base64') };
}

/** All leaves below `size`, from the entry bundles. */
export async function readLeaves(fetchPath: (path: string) => Promise<Buffer>, size: number): Promise<Buffer[]> {
  const leaves: Buffer[] = [];
  for (let tile = 0; tile * tileWidth < size; tile++) {
    const width = Math.min(tileWidth, size - tile * tileWidth);
    const bundle = await fetchPath(`/log/tile/entries/${tilePath(tile, width)}`);
    for (let at = 0; at < bundle.length; ) {
      const end = at + 2 + bundle.readUInt16BE(at);
      leaves.push(bundle.subarray(at + 2, end));
      at = end;
    }
  }
  return leaves;
}

/** All hashes of one tile level below `size` entries. */
export async function readHashes(
  fetchPath: (path: string) => Promise<Buffer>,
  level: number,
  size: number,
): Promise<Buffer[]> {
  const count = Math.floor(size / tileWidth ** level);
  const hashes: Buffer[] = [];
  for (let tile = 0; tile * tileWidth < count; tile++) {
    const width = Math.min(tileWidth, count - tile * tileWidth);
    const bytes = await fetchPath(`/log/tile/${level}/${tilePath(tile, width)}`);
    for (let at = 0; at < bytes.length; at += 32) hashes.push(bytes.subarray(at, at + 32));
  }
  return hashes;
}

/** `x001/x234/067`, and `.p/17` behind it for a tile that is not full. */
function tilePath(index: number, width: number): string {
  const groups = [];
  for (let rest = index; groups.length === 0 || rest > 0; rest = Math.floor(rest / 1_000)) {
    groups.unshift(`${groups.length === 0 ? '' : 'x'}${String(rest % 1_000).padStart(3, '0')}`);
  }
  return groups.join('/') + (width === tileWidth ? '' : `.p/${width}`);
}

export function leafHashOf(leaf: Buffer): Buffer {
  return createHash('sha256').update(Buffer.of(0)).update(leaf).digest();
}

/** Merkle tree hash over leaf hashes (RFC 6962 §2.1). */
export function rootOf(hashes: readonly Buffer[]): Buffer {
  const [only] = hashes;
  if (only === undefined) return createHash('sha256').digest();
  if (hashes.length === 1) return only;
  let split = 1;
  while (split * 2 < hashes.length) split *= 2;
  const [left, right] = [rootOf(hashes.slice(0, split)), rootOf(hashes.slice(split))];
  return createHash('sha256').update(Buffer.of(1)).update(left).update(right).digest();
}
