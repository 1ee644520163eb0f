import { signCheckpoint } from '../../common/checkpoint.ts';
import type { NoteSigner } from '../../common/note.ts';
import type { Tampering } from './independent-world.ts';
import type { Random } from './random.ts';
import { type Audited, type Head, leafHashOf, rootOf, tilePath } from './tile-auditor.ts';

/** What a forger does to the log on its way to an auditor. Forgers know everything, the log's key included, and use our code. */

export interface Truth {
  readonly honest: Audited;
  /** Checkpoints that the auditor has seen, smallest first. */
  readonly saved: readonly Head[];
}

/** Paths of all hash tiles. */
export function hashTiles({ honest }: Truth): string[] {
  const levels = [honest.head.size, Math.floor(honest.head.size / 256)];
  return levels.flatMap((count, level) => widths(count).map((width, tile) => `tile/${level}/${tilePath(tile, width)}`));
}

/** Paths of all entry bundles. */
export function bundles({ honest }: Truth): string[] {
  return widths(honest.head.size).map((width, tile) => `tile/entries/${tilePath(tile, width)}`);
}

function widths(count: number): number[] {
  return Array.from({ length: Math.ceil(count / 256) }, (_, tile) => Math.min(256, count - tile * 256));
}

/** Changes the answer to one path. */
export function onOne(wanted: string, change: (bytes: Buffer) => Buffer | undefined): Tampering {
  return (path, bytes) => (path === wanted ? change(bytes) : bytes);
}

/** Answers one file with another that was asked for before. */
export function inPlaceOf({ honest }: Truth, random: Random, paths: readonly string[]): Tampering {
  const [victim, other] = [random.pick(paths), random.pick(paths)];
  const index = paths.indexOf(victim);
  const substitute = victim === other ? paths[(index + 1) % paths.length] : other;
  const level = (path: string) => path.split('/')[1];
  return (path, bytes) => {
    if (path !== victim || substitute === undefined) return bytes;
    const at = Number(/(\d{3})(\.p|$)/.exec(substitute)?.[1]) * 256;
    if (level(substitute) === 'entries') return joined(honest.entries.slice(at, at + 256));
    if (level(substitute) === '0') return Buffer.concat(honest.leafHashes.slice(at, at + 256));
    return Buffer.concat([rootOf(honest.leafHashes.slice(0, 256)), rootOf(honest.leafHashes.slice(256, 512))]);
  };
}

/** The log with one early entry changed, and every tile and the checkpoint made to fit it. */
export function otherHistory({ honest, saved }: Truth, random: Random, sign: (head: Head) => string): Tampering {
  const entries = [...honest.entries];
  const at = random.int(0, (saved[0]?.size ?? 1) - 1);
  entries[at] = flip(Buffer.from(entries[at] ?? ''), random);
  const hashes = entries.map(leafHashOf);
  const root = rootOf(hashes);
  const above = widths(Math.floor(hashes.length / 256) * 256).map((_, tile) =>
    rootOf(hashes.slice(tile * 256, tile * 256 + 256)),
  );
  const note = sign({ ...honest.head, root });
  return (path, bytes) => {
    const [, level, index = ''] = /^tile\/(entries|\d+)\/(\d{3})/.exec(path) ?? [];
    const from = Number(index) * 256;
    if (path === 'checkpoint') return Buffer.from(note);
    if (level === 'entries') return joined(entries.slice(from, from + 256));
    if (level === '0') return Buffer.concat(hashes.slice(from, from + 256));
    return level === '1' ? Buffer.concat(above) : bytes;
  };
}

export function signedBy(signer: NoteSigner): (head: Head) => string {
  return (head) => signCheckpoint({ ...head, extensions: [] }, signer);
}

/** The text of another checkpoint above the signatures of `note`. */
export function withSignaturesOf(note: string): (head: Head) => string {
  const signatures = note.slice(note.indexOf('\n\n') + 1);
  return ({ origin, size, root }) => `${origin}\n${size}\n${root.toString('base64')}\n${signatures}`;
}

export function flip(bytes: Buffer, random: Random): Buffer {
  const at = random.int(0, bytes.length - 1);
  bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.int(0, 7)), at);
  return bytes;
}

export function split(bundle: Buffer): Buffer[] {
  const entries: Buffer[] = [];
  for (let at = 0; at < bundle.length; ) {
    const end = at + 2 + bundle.readUInt16BE(at);
    entries.push(bundle.subarray(at + 2, end));
    at = end;
  }
  return entries;
}

export function joined(entries: readonly Buffer[]): Buffer {
  return Buffer.concat(entries.flatMap((entry) => [Buffer.of(entry.length >> 8, entry.length & 0xff), entry]));
}

export function swapped(entries: readonly Buffer[], random: Random): Buffer[] {
  const one = random.int(0, entries.length - 2);
  const other = random.int(one + 1, entries.length - 1);
  return entries.map((entry, at) => (at === one ? entries[other] : at === other ? entries[one] : entry) ?? entry);
}
