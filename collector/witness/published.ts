import { openCheckpoint } from '../../common/checkpoint.ts';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import { verifyCosignatureAsync } from '../../common/cosignature.ts';
import { limits } from '../../common/limits.ts';
import { formatNote, formatVerifierKey, type NoteSignature, type VerifierKey } from '../../common/note.ts';
import type { Standing, StoredCheckpoint, WitnessStore } from './ports.ts';
import type { Roster, RosterWitness } from './roster.ts';
import { policyText } from './roster.ts';

export interface PublishedOptions {
  readonly logKey: VerifierKey;
  readonly store: WitnessStore;
  readonly roster: () => Promise<Roster>;
  /** @throws AppError `ledger.tampered`: then nothing is served either. */
  readonly checkpoint: () => Promise<StoredCheckpoint>;
  readonly clock: Clock;
  readonly maxUnwitnessedMs?: number;
}

/** What the collector publishes about its witnesses, checked before it is shown. */
export interface PublishedWitnesses {
  /**
   * The checkpoint to go by, with the cosignatures of everybody who counts (of a crowd, of enough): the newest that reached its quorum, unless the
   * log has gone on without one for longer than `maxUnwitnessedMs`; else the newest there is. Never a smaller one than
   * this process has served before.
   */
  note(): Promise<string>;
  /** @throws AppError `state.conflict` while the quorum cannot be said. */
  policy(): Promise<string>;
  view(): Promise<WitnessesView>;
}

export type WitnessesView = Awaited<ReturnType<typeof viewOf>>;

export function publishWitnesses(options: PublishedOptions): PublishedWitnesses {
  const { logKey, store, roster, checkpoint, clock, maxUnwitnessedMs = limits.maxUnwitnessedMs } = options;
  let served = 0;
  /** Cosigned notes by size, roster and number of cosignatures: the last one is asked for again and again. */
  let composed = { of: '', note: '' };

  async function compose(plain: StoredCheckpoint, { witnesses, required = 0 }: Roster): Promise<string> {
    const cosignatures = await store.cosignatures(plain.size);
    const counted = cosignatures.flatMap((one) => {
      const key = witnesses.find(({ key: { name, keyId } }) => name === one.witness && keyId === one.keyId)?.key;
      return key === undefined ? [] : [{ key, line: { name: key.name, keyId: key.keyId, signature: one.cosignature } }];
    });
    const of = [plain.note, ...counted.map(({ line }) => `${line.keyId}${line.signature.toString('base64')}`)].join(
      '\n',
    );
    if (composed.of === of) return composed.note;
    const { note } = openCheckpoint(plain.note, logKey);
    const valid: NoteSignature[] = [];
    for (const { key, line } of counted) {
      // One that somebody put into the database by hand would make the whole note invalid for whoever checks it.
      await verifyCosignatureAsync(note.text, line, key).then(
        () => valid.push(line),
        () => {},
      );
    }
    const served = valid.slice(0, Math.max(required, limits.servedCosignatures));
    composed = { of, note: formatNote({ text: note.text, signatures: [...note.signatures, ...served] }) };
    return composed.note;
  }

  return {
    note: async () => {
      // First, since it finds out whether the database still holds what was published.
      const latest = await checkpoint();
      const [now, standing] = [await roster(), await store.standing()];
      const witnessed = witnessedLately(standing, clock.now() - maxUnwitnessedMs);
      const asked = now.required !== undefined && now.required > 0;
      const serve = asked && witnessed !== undefined && witnessed.size >= served ? witnessed : latest;
      served = Math.max(served, serve.size);
      return compose(serve, now);
    },
    policy: async () => policyText(await roster(), logKey),
    view: async () => viewOf(await roster(), store),
  };
}

/** The witnessed checkpoint, unless what came after it has waited since before `oldestMs`. */
function witnessedLately({ witnessed, unwitnessedSinceMs }: Standing, oldestMs: number): StoredCheckpoint | undefined {
  return unwitnessedSinceMs !== undefined && unwitnessedSinceMs < oldestMs ? undefined : witnessed;
}

/** As `GET /api/v1/witnesses` and `witnesses list` show it. */
export async function viewOf(roster: Roster, store: WitnessStore) {
  const { witnesses, quorum, required, problem } = roster;
  const standing = await store.standing();
  const last = await store.lastCosigned(witnesses.map(({ key: { name, keyId } }) => ({ witness: name, keyId })));
  const lastOf = ({ key }: RosterWitness) =>
    last.find(({ witness, keyId }) => witness === key.name && keyId === key.keyId);
  const { ledgerSize, witnessed, unwitnessedSinceMs } = standing;
  return {
    quorum: { rule: quorum, required: required ?? null, of: witnesses.length, problem: problem ?? null },
    ledger_size: ledgerSize,
    witnessed_size: witnessed?.size ?? 0,
    unwitnessed:
      unwitnessedSinceMs === undefined
        ? null
        : { from: witnessed?.size ?? 0, to: ledgerSize, since: rfc3339(unwitnessedSinceMs) },
    witnesses: witnesses.map((witness) => {
      const latest = lastOf(witness);
      return {
        name: witness.label,
        kind: witness.kind,
        key: formatVerifierKey(witness.key),
        url: witness.url ?? null,
        last_size: latest?.size ?? null,
        last_at: latest === undefined ? null : rfc3339(latest.atMs),
      };
    }),
  };
}
