import { openCheckpoint } from '../../common/checkpoint.ts';
import { verifyCosignatureAsync } from '../../common/cosignature.ts';
import type { OrderWitnesses } from '../../common/enforcement/order-witnesses.ts';
import { formatNote, type NoteSignature, parseVerifierKey, type VerifierKey } from '../../common/note.ts';
import type { CosignedCheckpoint } from '../enforcement/ports.ts';
import type { StoredCheckpoint, StoredCosignature, WitnessStore } from './ports.ts';

export interface OrderQuorumOptions {
  readonly logKey: VerifierKey;
  readonly store: Pick<WitnessStore, 'standing' | 'checkpoint' | 'cosignatures'>;
  /** As `Ledger.confront`. */
  readonly confront: (note: string) => Promise<void>;
}

/** Checkpoints with the cosignatures that orders need: those of keys in the manifest, whoever else may be enrolled. */
export interface OrderQuorum {
  /**
   * The newest that enough of these have cosigned, with as many cosignatures as are needed; undefined while there is none.
   * @param hint size of one that is likely to have them.
   * @throws AppError `database.*`; `ledger.tampered` when one was stored that is none of this ledger's.
   */
  newest(by: OrderWitnesses, hint: number): Promise<CosignedCheckpoint | undefined>;
}

export function createOrderQuorum({ logKey, store, confront }: OrderQuorumOptions): OrderQuorum {
  /** The last one that was found: many orders are sent with it. */
  let composed: { readonly by: OrderWitnesses; readonly found: CosignedCheckpoint } | undefined;

  async function compose(
    { size, note }: StoredCheckpoint,
    by: OrderWitnesses,
  ): Promise<CosignedCheckpoint | undefined> {
    if (composed?.by === by && composed.found.size === size) return composed.found;
    const lines = cosignedBy(by, await store.cosignatures(size));
    if (lines.length < by.required) return undefined;
    const plain = openCheckpoint(note, logKey);
    const valid: NoteSignature[] = [];
    for (const { key, line } of lines) {
      // Nothing is believed for being in the database, and the node would not count it.
      await verifyCosignatureAsync(plain.note.text, line, key).then(
        () => valid.push(line),
        () => {},
      );
      if (valid.length === by.required) break;
    }
    if (valid.length < by.required) return undefined;
    // Its node would take it for a fork.
    await confront(note);
    const { text, signatures } = plain.note;
    const found = { size: plain.checkpoint.size, note: formatNote({ text, signatures: [...signatures, ...valid] }) };
    composed = { by, found };
    return found;
  }

  return {
    newest: async (by, hint) => {
      const { newest, witnessed } = await store.standing();
      const hinted = hint > 0 ? await store.checkpoint(hint) : undefined;
      const stored = [newest, hinted, witnessed].flatMap((one) => one ?? []);
      for (const one of stored.sort((a, b) => b.size - a.size)) {
        const found = await compose(one, by);
        if (found !== undefined) return found;
      }
      return undefined;
    },
  };
}

/** Size of the newest checkpoint that enough of these have cosigned, by what is in the database: for people, not to be relied on. */
export async function witnessedSize(
  store: Pick<WitnessStore, 'standing' | 'cosignatures'>,
  by: OrderWitnesses,
): Promise<number> {
  const { newest, witnessed } = await store.standing();
  for (const { size } of [newest, witnessed].flatMap((one) => one ?? []).sort((a, b) => b.size - a.size)) {
    if (cosignedBy(by, await store.cosignatures(size)).length >= by.required) return size;
  }
  return 0;
}

/** Cosignatures by these keys, each key once, as lines of a note; not verified. */
export function cosignedBy(
  { keys }: OrderWitnesses,
  cosignatures: readonly StoredCosignature[],
): readonly { readonly key: VerifierKey; readonly line: NoteSignature }[] {
  return keys.flatMap((vkey) => {
    const key = parseVerifierKey(vkey);
    const one = cosignatures.find(({ witness, keyId }) => witness === key.name && keyId === key.keyId);
    return one === undefined ? [] : [{ key, line: { name: key.name, keyId: key.keyId, signature: one.cosignature } }];
  });
}
