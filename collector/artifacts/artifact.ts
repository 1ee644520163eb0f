import { createHash } from 'node:crypto';
import { artifactKinds } from '../../common/kinds.ts';

export { artifactKinds };
export type ArtifactKind = (typeof artifactKinds)[number];

/** Something that was built, known by its SHA-256. */
export interface Artifact {
  readonly kind: ArtifactKind;
  /** Of a file the hash of its bytes, of a tree that of its {@link treeText}, of an image its id: lower-case hex. */
  readonly sha256: string;
  /** That were read. */
  readonly bytes: number;
  /** Regular files in a tree, layers of an image, 1 for a file. */
  readonly parts: number;
  /** Names an image goes by; they are no part of what it is. */
  readonly tags: readonly string[];
}

/** Told how many bytes were read so far, of how many there may be. */
export type ReadingProgress = (bytes: number, of: number) => void;

/** One thing in a tree. A folder has neither hash nor length; of a link both are those of its target's name. */
export interface TreeEntry {
  readonly type: 'file' | 'exe' | 'dir' | 'link';
  /** Below the root, with `/` between names; bytes, since names on Linux need not be text. */
  readonly path: Buffer;
  readonly sha256: string | null;
  readonly bytes: number | null;
}

const treeHeader = 'sigilwatch-tree/v1';

/**
 * A tree as text, of which its hash is taken: a header, then one line for everything in it, in the order of the paths' bytes. The same for the
 * same names, contents, links and right of the owner to run a file; times, owners and all other rights are left out, since no two
 * builds or unpackings agree on them.
 * ```
 * sigilwatch-tree/v1
 * dir - - bin
 * exe 9f86d0… 4 bin/run
 * ```
 */
export function treeText(entries: readonly TreeEntry[]): string {
  const sorted = [...entries].sort((a, b) => Buffer.compare(a.path, b.path));
  const lines = sorted.map(
    ({ type, sha256, bytes, path }) => `${type} ${sha256 ?? '-'} ${bytes ?? '-'} ${shown(path)}`,
  );
  return [treeHeader, ...lines, ''].join('\n');
}

/** Printable ASCII as it is, except space and `%`; every other byte as `%XX` (RFC 3986 §2.1). */
function shown(path: Buffer): string {
  let text = '';
  for (const byte of path) {
    const plain = byte > 0x20 && byte < 0x7f && byte !== 0x25;
    text += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text;
}

export function sha256Of(bytes: string | Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
