import { backoffDelayMs } from '../../common/backoff.ts';
import type { Clock } from '../../common/clock.ts';
import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { formatVerifierKey } from '../../common/note.ts';
import type { RoundCheckpoint } from '../ws/ports.ts';
import type { WitnessMetrics } from './metrics.ts';
import { createOutsideClient, type OutsideClient, type ProvingLedger } from './outside.ts';
import type { StoredCosignature } from './ports.ts';
import type { Roster, RosterWitness } from './roster.ts';

export interface CrowdOptions {
  readonly ledger: ProvingLedger;
  /** Gets every cosignature, verified. */
  readonly add: (size: number, cosignature: StoredCosignature) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly metrics: WitnessMetrics;
  readonly timeoutMs?: number;
}

/** All outside witnesses, each for itself: one that is slow or gone delays nobody else. */
export interface OutsideCrowd {
  /** Asks everybody on the roster who is neither being asked nor to be left alone for now. Does not wait for anything. */
  offer(checkpoint: RoundCheckpoint, roster: Roster): void;
  /** Ends all connections and waits for what is under way. */
  close(): Promise<void>;
}

interface Member {
  readonly client: OutsideClient;
  /** What it has cosigned, as far as we know; it says so itself when we are wrong. */
  size: number;
  failures: number;
  /** Monotonic milliseconds. */
  notBeforeMs: number;
  asking: Promise<void> | undefined;
  /** The last trouble that was logged. */
  told: string;
}

const bounds = { minMs: limits.backoffMinMs, maxMs: limits.maxOutsideBackoffMs };
/** Somebody has to act first: ask rarely. */
const lateAttempt = 64;

export function createOutsideCrowd(options: CrowdOptions): OutsideCrowd {
  const { clock, timeoutMs = limits.outsideWitnessTimeoutMs } = options;
  const members = new Map<string, Member>();

  function memberOf(id: string, { key, url = '' }: RosterWitness): Member {
    const client = () => createOutsideClient({ key, url }, options.ledger, { timeoutMs, clock });
    const member = members.get(id) ?? {
      client: client(),
      size: 0,
      failures: 0,
      notBeforeMs: 0,
      asking: undefined,
      told: '',
    };
    members.set(id, member);
    return member;
  }

  return {
    offer: (checkpoint, { witnesses }) => {
      const outside = new Map(
        witnesses.flatMap((one) => (one.kind === 'outside' ? [[`${formatVerifierKey(one.key)} ${one.url}`, one]] : [])),
      );
      for (const [id, member] of members) {
        // Taken off the manifest, or moved.
        if (!outside.has(id)) void forget(members, id, member);
      }
      for (const [id, witness] of outside) {
        const member = memberOf(id, witness);
        const due = member.asking === undefined && clock.monotonicMs() >= member.notBeforeMs;
        if (due && member.size !== checkpoint.size) member.asking = ask(member, witness, checkpoint, options);
      }
    },
    close: async () => {
      await Promise.all([...members].map(([id, member]) => forget(members, id, member)));
    },
  };
}

/** Ends when it is answered or has failed; never rejects. */
async function ask(
  member: Member,
  { key, label }: RosterWitness,
  checkpoint: RoundCheckpoint,
  { add, clock, random, logger, metrics }: CrowdOptions,
): Promise<void> {
  try {
    const { signature } = await member.client.addCheckpoint(checkpoint, Math.min(member.size, checkpoint.size));
    add(checkpoint.size, { witness: key.name, keyId: key.keyId, cosignature: signature });
    metrics.cosignature('outside', 'accepted');
    metrics.outside('cosigned');
    Object.assign(member, { size: checkpoint.size, failures: 0, told: '' });
  } catch (thrown) {
    const { code, message, retryable, details } = toAppError(thrown);
    metrics.outside(code);
    const waitMs = backoffDelayMs(retryable ? member.failures : lateAttempt, bounds, random);
    const level = code === 'ledger.forked' ? 'error' : 'warn';
    // Once for each kind of trouble, however long it lasts.
    if (member.told !== message) logger[level]('witness.outside_failed', { witness: label, code, message, details });
    Object.assign(member, {
      failures: member.failures + 1,
      notBeforeMs: clock.monotonicMs() + waitMs,
      told: message,
      // It says itself where it stands when it is asked from the beginning.
      size: 0,
    });
  } finally {
    member.asking = undefined;
  }
}

async function forget(members: Map<string, Member>, id: string, member: Member): Promise<void> {
  members.delete(id);
  await member.client.close();
  await member.asking;
}
