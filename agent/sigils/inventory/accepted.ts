import { cutText, foreignText } from '../../../common/sigil-text.ts';

/** A change that a store's owner has meant. */
export interface AcceptedChange {
  /** Of the finding that was accepted. */
  readonly id: string;
  readonly check: 'vanished' | 'rolled_back';
  readonly key: Buffer;
  /** `updatedAt` that a record was set back to, as the finding shows it; null for one that is gone. */
  readonly actual: string | null;
}

/**
 * Changes that an inventory is to forget about. Each is good for what stood in its finding and nothing else, and for one comparison: a record
 * that is back is compared as ever, and so is one that was set back to yet another time.
 */
export class AcceptedChanges {
  private readonly byKey: ReadonlyMap<string, readonly AcceptedChange[]>;
  private readonly waiting = new Set<string>();

  constructor(changes: readonly AcceptedChange[]) {
    const byKey = new Map<string, AcceptedChange[]>();
    for (const change of changes) {
      const name = change.key.toString('latin1');
      byKey.set(name, [...(byKey.get(name) ?? []), change]);
    }
    this.byKey = byKey;
  }

  /** Whether the key may be gone. */
  vanished(key: Buffer): boolean {
    return this.of(key).some(({ check }) => check === 'vanished');
  }

  /** Whether the record under the key may be of that time, as it stands there. */
  rolledBack(key: Buffer, now: string): boolean {
    if (this.byKey.size === 0) return false;
    const shown = cutText(foreignText(Buffer.from(now, 'latin1')));
    return this.of(key).some(({ check, actual }) => check === 'rolled_back' && actual === shown);
  }

  /** The scan could not see what became of the key: that is for the next one. */
  wait(key: Buffer): void {
    for (const { id } of this.of(key)) this.waiting.add(id);
  }

  /** What need not be known any longer, by the ids of the findings, once the new inventory stands. */
  get spent(): readonly string[] {
    return [...this.byKey.values()].flat().flatMap(({ id }) => (this.waiting.has(id) ? [] : [id]));
  }

  private of(key: Buffer): readonly AcceptedChange[] {
    return this.byKey.size === 0 ? [] : (this.byKey.get(key.toString('latin1')) ?? []);
  }
}
