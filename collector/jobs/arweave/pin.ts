import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import type { Action, ActionAnswer } from '../actions.ts';
import type { PinStore, SignedPin } from '../ports.ts';
import type { Requested } from '../runs.ts';
import type { Gateway } from './gateway.ts';
import { signTransaction, type Wallet } from './transaction.ts';

/*
 * `pin_arweave`: the registration of an artifact, with the proof that it is in the ledger, is kept where nobody can take it away.
 *
 * The transaction is made and signed once and kept before it is sent, so every try sends the same one: a crash after sending, or an
 * answer that was lost, can neither pay twice nor leave two ids.
 */

/** What is pinned. */
export interface Registration {
  /** The proof file of the artifact's registration. */
  readonly file: Buffer;
  /** Whether enough of the witnesses have cosigned its checkpoint; true when none are asked for. */
  readonly witnessed: boolean;
}

/** Undefined for an artifact that is not registered. */
export type RegistrationProof = (artifact: string) => Promise<Registration | undefined>;

export interface PinOptions {
  readonly store: PinStore;
  readonly proofOf: RegistrationProof;
  /** Undefined where the settings name none. */
  readonly arweave: ArweaveAccess | undefined;
  /** Of the ledger. */
  readonly origin: string;
  /** Unix milliseconds. */
  readonly now: () => number;
}

export interface ArweaveAccess {
  readonly gateway: Gateway;
  /** Read when something is to be signed. */
  readonly wallet: () => Promise<Wallet>;
  /** Blocks that a transaction must be in. */
  readonly confirmations: number;
}

export function pinAction({ store, proofOf, arweave, origin, now }: PinOptions): Action {
  const need = () => {
    if (arweave !== undefined) return arweave;
    throw new AppError(
      'state.conflict',
      'pin_arweave is not set up: set jobs.arweave.gateway and jobs.arweave.walletFile, the wallet that pays',
    );
  };

  /** Undefined while witnesses are worth waiting for: what is pinned without them stays without them. */
  async function signed(requested: Requested): Promise<SignedPin | undefined> {
    const kept = await store.pin(requested.id);
    if (kept !== undefined) return kept;
    const { file: data, witnessed } = await registrationOf(requested.artifact, proofOf);
    if (!witnessed && now() - requested.atMs < limits.pinWitnessesMs) return undefined;
    const { gateway, wallet } = need();
    const [anchor, reward] = await Promise.all([gateway.anchor(), gateway.price(data.length)]);
    const tags = {
      'Content-Type': 'text/plain',
      'App-Name': 'Sigilwatch',
      Ledger: origin,
      Artifact: requested.artifact,
      Enforcement: requested.id,
    };
    return store.keep(requested.id, await signTransaction({ data, tags, anchor, reward }, await wallet()));
  }

  return {
    isSpooled: true,
    check: (target) => {
      need();
      if (target.length > limits.maxTargetChars) throw new AppError('validation.body', 'the target is too long');
    },
    serviceOf: () => 'arweave',
    run: async (requested, signal) => {
      const { gateway, confirmations: wanted } = need();
      const pin = await signed(requested);
      if (pin === undefined) return waitsForWitnesses;
      signal.throwIfAborted();
      let found = await gateway.confirmations(pin.txId);
      if (found === undefined) {
        await gateway.post(pin.tx);
        found = (await gateway.confirmations(pin.txId)) ?? 0;
      }
      if (found < wanted) return waits(pin, found, wanted);
      return verified(pin, await gateway.transaction(pin.txId));
    },
  };
}

const waitsForWitnesses: ActionAnswer = {
  state: 'waiting',
  reason: 'no quorum of witnesses has cosigned a checkpoint with the registration yet',
  afterMs: limits.spoolMs,
};

async function registrationOf(artifact: string, proofOf: RegistrationProof): Promise<Registration> {
  const found = await proofOf(artifact);
  const isForGood = true;
  if (found === undefined) {
    throw new AppError('resource.not_found', `no artifact ${artifact} is registered`, { details: { isForGood } });
  }
  if (found.file.length <= limits.maxPinnedBytes) return found;
  throw new AppError(
    'validation.too_large',
    `the registration of ${artifact} takes ${found.file.length} bytes, and at most ${limits.maxPinnedBytes} are pinned`,
    { details: { isForGood } },
  );
}

function waits({ txId }: SignedPin, found: number, wanted: number): ActionAnswer {
  const reason = `transaction ${txId} is in ${found} of ${wanted} blocks`;
  return { state: 'waiting', reason, afterMs: limits.pinLookMs };
}

/** What says that it is this transaction and no other under its name. The data itself need not come along: the root stands for it. */
const signedFields = z.object({
  ...{ id: z.string(), signature: z.string(), owner: z.string(), data_root: z.string() },
  ...{ data_size: z.string(), last_tx: z.string(), reward: z.string(), tags: z.array(z.unknown()) },
});

/** @throws AppError `channel.refused` when the gateway gives out something else than what was sent. */
function verified({ txId, tx }: SignedPin, given: unknown): ActionAnswer {
  if (given === undefined) {
    return { state: 'waiting', reason: `the gateway does not give out ${txId} yet`, afterMs: limits.pinLookMs };
  }
  const sent = signedFields.parse(JSON.parse(tx));
  const found = signedFields.safeParse(given);
  if (found.success && isDeepStrictEqual(found.data, sent)) return { state: 'done' };
  throw new AppError(
    'channel.refused',
    `the gateway gives out another transaction as ${txId} than the one that was sent`,
  );
}
