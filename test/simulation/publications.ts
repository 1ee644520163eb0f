import assert from 'node:assert/strict';
import type { PublishedCheckpoint } from '../../collector/ledger/publisher.ts';
import type { StorableEntry } from '../../collector/ledger/store.ts';
import { type Checkpoint, openCheckpoint, parseCheckpoint } from '../../common/checkpoint.ts';
import { appendLeaves, emptyRange, rootOf } from '../../common/merkle.ts';
import { parseNote, signatureTypes, verifierKey } from '../../common/note.ts';
import { collectorKeys, testOrigin } from '../ledgers.ts';

const logKey = verifierKey(testOrigin, signatureTypes.ed25519, collectorKeys.publicKey);

/** A checkpoint that somebody was handed, and the leaves of its tree. */
export interface Publication {
  readonly checkpoint: PublishedCheckpoint;
  readonly leaves: readonly StorableEntry[];
}

/** All that was ever published, whoever published it. Knows trees as lists of leaves, so it needs no proof to compare them. */
export class Publications {
  readonly all: Publication[] = [];
  /** False once the data directory was lost together with the database: then only agents can tell. */
  mustAgree = true;
  /** The one with most leaves. */
  newest: Publication | undefined;

  /**
   * Takes note of a checkpoint, over the entries that are stored at this moment.
   * @throws AssertionError when it is not of these entries, or not consistent with one published before.
   */
  add(checkpoint: PublishedCheckpoint, stored: readonly StorableEntry[]): void {
    const { size, root, note } = checkpoint;
    const opened = openCheckpoint(note, logKey).checkpoint;
    assert.deepEqual(opened, { origin: testOrigin, size, root, extensions: [] });
    const leaves = stored.slice(0, size);
    assert.equal(leaves.length, size, 'a checkpoint covers what is stored');
    assert.ok(holdsTreeOf(note, leaves));
    const publication = { checkpoint, leaves };
    // All earlier ones are prefixes of the newest among them, so one comparison is one with each.
    if (this.mustAgree && this.newest !== undefined) assertPrefix(this.newest, publication);
    this.all.push(publication);
    if (size >= (this.newest?.leaves.length ?? 0)) this.newest = publication;
  }

  /** Whether all that was published is still stored. */
  keptBy(stored: readonly StorableEntry[]): boolean {
    return this.newest === undefined || isPrefix(this.newest.leaves, stored);
  }

  /** Whether the tree of a checkpoint that was published is still stored. */
  contains({ size, root }: Checkpoint, stored: readonly StorableEntry[]): boolean {
    const found = this.all.find(({ checkpoint }) => checkpoint.size === size && checkpoint.root.equals(root));
    assert.ok(found, 'nobody holds what was not published');
    return isPrefix(found.leaves, stored);
  }
}

function assertPrefix(one: Publication, other: Publication): void {
  const [shorter, longer] = one.leaves.length <= other.leaves.length ? [one, other] : [other, one];
  const sizes = `${shorter.leaves.length} and ${longer.leaves.length}`;
  assert.ok(isPrefix(shorter.leaves, longer.leaves), `the checkpoints of ${sizes} entries contradict each other`);
}

function isPrefix(shorter: readonly StorableEntry[], longer: readonly StorableEntry[]): boolean {
  return (
    shorter.length <= longer.length &&
    shorter.every(({ leafHash }, at) => longer[at]?.leafHash.equals(leafHash) === true)
  );
}

/** Whether the first entries lead to the root in the note, which nobody has to have signed. */
export function holdsTreeOf(note: string, stored: readonly StorableEntry[]): boolean {
  const { size, root } = parseCheckpoint(parseNote(note).text);
  const hashes = stored.slice(0, size).map(({ leafHash }) => leafHash);
  return hashes.length === size && rootOf(appendLeaves(emptyRange, hashes)).equals(root);
}
