import type { KeyObject } from 'node:crypto';
import type { Checkpoint } from '../../common/checkpoint.ts';
import type { Clock } from '../../common/clock.ts';
import { cosign } from '../../common/cosignature.ts';
import { decodeBase64Hash } from '../../common/encoding.ts';
import { entryHash, parseLogged, type SignedEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { fingerprint, type KeyPair, signBytes } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import { leafHash } from '../../common/merkle.ts';
import { parseNote } from '../../common/note.ts';
import {
  type AgentMessage,
  type CollectorMessage,
  fromWire,
  handshakeBytes,
  type MessageOf,
  toWire,
} from '../../common/protocol.ts';
import { nodeWitnessSigner } from '../../common/witnesses.ts';
import type { HoldingBoard } from '../desired/holding.ts';
import { type OrderMessage, readIssued } from '../orders/issued.ts';
import { type MeasureMessage, readMeasure } from '../orders/measure-records.ts';
import type { LedgerHead, LinkOutbox } from '../ports.ts';
import { createBundleParts } from './bundle-parts.ts';
import { type Ack, createInFlight, verifyPlaces } from './in-flight.ts';
import type { Receiver } from './mailbox.ts';
import type { CheckpointUpdate, ForkStatement, Witness } from './witness.ts';

type Welcome = MessageOf<CollectorMessage, 'welcome'>;

/** A checkpoint this node has vouched for. */
export interface Cosigned {
  readonly size: number;
  /** Unix milliseconds. */
  readonly atMs: number;
}

export interface SessionBounds {
  /** Between two checkpoints that are cosigned; what is offered in between is passed over. */
  readonly cosignIntervalMs: number;
}

export interface LinkSessionOptions {
  readonly node: string;
  /** The agent's own version, for the collector's inventory. */
  readonly version: string;
  readonly keys: KeyPair;
  /** The log this node is enrolled with. */
  readonly origin: string;
  readonly witness: Witness;
  readonly outbox: LinkOutbox;
  /** Makes the evidence of a fork durable. */
  readonly keepFork: (fork: ForkStatement) => Promise<void>;
  /** Hears of every cosignature that has left. */
  readonly onCosigned: (cosigned: Cosigned) => void;
  /** Key of the log, which signs the collector's own entries too. */
  readonly collectorKey: KeyObject;
  readonly receiver: Receiver;
  /** What the node has of the desired state; without it, nothing is said of it. */
  readonly holding?: HoldingBoard;
  readonly clock: Clock;
  readonly bounds: SessionBounds;
  /** Resolves once the message has left for the network; until then nothing more is read from the outbox. */
  readonly send: (message: AgentMessage) => Promise<void>;
}

/**
 * The agent's side of one connection, without the socket: hello, challenge, proof, welcome, then appends and acks.
 * Every call that rejects means the connection is to be closed; what was not acknowledged is still in the outbox.
 */
export interface LinkSession {
  readonly streaming: boolean;
  /** Batches acknowledged in this session. */
  readonly acks: number;
  /** The collector's clock minus ours, measured at the welcome; half the round trip is its error. */
  readonly clockOffsetMs: number | undefined;
  /** Since when an ack has been awaited, monotonic milliseconds; undefined when nothing is in flight. */
  readonly awaitingSinceMs: number | undefined;
  /** Opens the handshake. */
  greet(): Promise<void>;
  /** Takes the next message; one call at a time, in order. Does not send entries: see {@link pump}. */
  receive(message: CollectorMessage): Promise<void>;
  /** Says what the node has of the desired state, once the session streams. */
  tellHolding(): Promise<void>;
  /** Sends what waits in the outbox, as far as the bounds allow. May be called at any time. */
  pump(): Promise<void>;
}

type Phase =
  | { readonly name: 'greeting' }
  /** `sentAtMs` is by the wall clock, for the clock comparison. */
  | { readonly name: 'proving'; readonly sentAtMs: number }
  | { readonly name: 'streaming'; readonly clockOffsetMs: number };

export function createLinkSession(options: LinkSessionOptions): LinkSession {
  const { node, keys, origin, witness, outbox, clock, send } = options;
  const inFlight = createInFlight();
  const parts = createBundleParts();
  let phase: Phase = { name: 'greeting' };
  let vouched: { readonly text: string; readonly atMs: number; readonly cosignature: string } | undefined;
  let sentSeq = 0;
  let acks = 0;
  let lastAckMs = 0;

  /** What contradicts the checkpoint held is kept first and then said to the collector, as the last word. */
  async function held<T>(take: () => T): Promise<T> {
    try {
      return take();
    } catch (thrown) {
      const fork = witness.fork;
      if (fork === undefined) throw thrown;
      // Evidence that cannot be written is no reason to keep silent; whoever holds the connection tries again.
      await options.keepFork(fork).catch(() => {});
      await send({ type: 'fork', ...fork.body }).catch(() => {});
      throw thrown;
    }
  }

  function accept({ note, consistency }: Ack['checkpoint']): Promise<Checkpoint> {
    return held(() => witness.accept(readUpdate({ note, consistency })));
  }

  /**
   * A crash before the trim resolves means that nothing was cosigned, after it that the next round asks again. Signing and
   * writing are bounded, however often we are asked: the same is answered from memory, what comes too soon not at all.
   */
  async function vouch({ checkpoint }: MessageOf<CollectorMessage, 'checkpoint'>): Promise<void> {
    const { size } = await accept(checkpoint);
    const { text } = parseNote(checkpoint.note);
    if (vouched?.text !== text) {
      const atMs = clock.monotonicMs();
      if (vouched !== undefined && atMs - vouched.atMs < options.bounds.cosignIntervalMs) return;
      // Durable first: a witness that forgets what it vouched for could vouch for something else.
      await outbox.trim(outbox.acked.seq, checkpoint.note);
      const { signature } = cosign(text, nodeWitnessSigner(origin, node, keys), clock.now());
      vouched = { text, atMs, cosignature: signature.toString('base64') };
    }
    await send({ type: 'cosign', size, cosignature: vouched.cosignature });
    options.onCosigned({ size, atMs: clock.now() });
  }

  /** What an order changes is durable only with the order itself, which keeps the checkpoint as evidence. */
  async function takeOrder(message: OrderMessage): Promise<void> {
    const checkpoint = await accept(message.checkpoint);
    const { witnessed } = message;
    const earlier = witnessed && (await held(() => witness.recall(readUpdate(witnessed))));
    options.receiver.order(readIssued(message, { checkpoint, witnessed: earlier }, options.collectorKey));
  }

  async function takeMeasure(message: MeasureMessage): Promise<void> {
    const checkpoint = await accept(message.checkpoint);
    options.receiver.measure({ type: 'told', measure: readMeasure(message, checkpoint, options.collectorKey) });
  }

  async function prove(challenge: MessageOf<CollectorMessage, 'challenge'>): Promise<void> {
    // The signature names the origin, so what another collector got out of us is worth nothing to this one.
    if (challenge.origin !== origin) throw otherLog(challenge.origin, origin);
    phase = { name: 'proving', sentAtMs: clock.now() };
    const signature = signBytes(keys.privateKey, handshakeBytes(challenge, node)).toString('base64');
    await send({ type: 'proof', signature });
  }

  async function begin(welcome: Welcome, sentAtMs: number): Promise<void> {
    const clockOffsetMs = Date.parse(welcome.now) - Math.round((sentAtMs + clock.now()) / 2);
    const checkpoint = await accept(welcome.checkpoint);
    await outbox.anchor(readHead(welcome.head, checkpoint, node));
    await outbox.trim(outbox.acked.seq, welcome.checkpoint.note);
    // From what was proved to us, not from what the ledger has: an ack that was lost is asked for again.
    sentSeq = outbox.acked.seq;
    phase = { name: 'streaming', clockOffsetMs };
    await tellHolding();
    options.receiver.measure({ type: 'session' });
  }

  async function tellHolding(): Promise<void> {
    const holding = options.holding?.current;
    if (phase.name === 'streaming' && holding !== undefined) await send({ type: 'holds', ...holding });
  }

  async function settle(ack: Ack): Promise<void> {
    const checkpoint = await accept(ack.checkpoint);
    const throughSeq = inFlight.acknowledge(ack, checkpoint);
    // A crash before this resolves means the entries are sent, and acknowledged, once more.
    await outbox.trim(throughSeq, ack.checkpoint.note);
    acks += 1;
    lastAckMs = clock.monotonicMs();
  }

  async function sendBatch(): Promise<boolean> {
    const batch = await outbox.read(sentSeq, { maxEntries: limits.maxAppendEntries, maxBytes: limits.maxAppendBytes });
    const last = batch.at(-1);
    if (last === undefined) return false;
    requireNext(batch, sentSeq);
    // Noted before it is sent, since the ack may be here before the socket says that the frame has left.
    inFlight.sent(batch, clock.monotonicMs());
    sentSeq = last.entry.seq;
    await send({ type: 'append', entries: batch.map(toWire) });
    return true;
  }

  return {
    get streaming() {
      return phase.name === 'streaming';
    },
    get acks() {
      return acks;
    },
    get clockOffsetMs() {
      return phase.name === 'streaming' ? phase.clockOffsetMs : undefined;
    },
    get awaitingSinceMs() {
      return inFlight.oldestMs === undefined ? undefined : Math.max(inFlight.oldestMs, lastAckMs);
    },
    greet: () =>
      send({
        type: 'hello',
        node,
        fingerprint: fingerprint(keys.publicKey),
        version: options.version,
        checkpoint: witness.heldNote ?? null,
      }),
    receive: async (message) => {
      if (message.type === 'refused') throw refused(message);
      if (message.type === 'challenge' && phase.name === 'greeting') return prove(message);
      if (message.type === 'welcome' && phase.name === 'proving') return begin(message, phase.sentAtMs);
      if (message.type === 'ack' && phase.name === 'streaming') return settle(message);
      if (message.type === 'checkpoint' && phase.name === 'streaming') return vouch(message);
      if (message.type === 'order' && phase.name === 'streaming') return takeOrder(message);
      if (message.type === 'measure' && phase.name === 'streaming') return takeMeasure(message);
      if (message.type === 'measured' && phase.name === 'streaming') {
        return options.receiver.measure({ type: 'measured', all: message.all });
      }
      if (message.type === 'desired' && phase.name === 'streaming') {
        const bundle = parts.take(message);
        return bundle === undefined ? undefined : options.receiver.bundle(bundle.commit, bundle.bytes);
      }
      throw new AppError('validation.protocol', `the collector sent ${message.type} while ${phase.name}`);
    },
    tellHolding,
    pump: onePump(async () => {
      while (phase.name === 'streaming' && inFlight.batches < limits.maxAppendsInFlight) {
        if (!(await sendBatch())) return;
      }
    }),
  };
}

/** Runs `work` once at a time; a call during a run makes one more run follow, so that no reason to run is missed. */
function onePump(work: () => Promise<void>): () => Promise<void> {
  let running = false;
  let again = false;
  return async () => {
    again = true;
    if (running) return;
    running = true;
    try {
      while (again) {
        again = false;
        await work();
      }
    } finally {
      running = false;
    }
  };
}

/**
 * The head as far as it can be believed. Its signature is not looked at: of a node that was enrolled anew it is by a key we do
 * not have, and what counts is that the ledger holds the entry.
 * @throws AppError `ledger.proof` for a proof of something else.
 */
function readHead({ seq, hash, proof }: Welcome['head'], checkpoint: Checkpoint, node: string): LedgerHead {
  if (proof === null) return { seq, hash };
  const { bytes, signature } = fromWire(proof.entry);
  const said = { entries: [{ seq, index: proof.index, proof: proof.proof }], hashes: proof.hashes };
  verifyPlaces(said, checkpoint, [{ seq, leafHash: leafHash(bytes, signature) }]);
  const entry = parseLogged(bytes);
  if (entry.author !== node || entry.seq !== seq || entryHash(bytes) !== hash) {
    throw new AppError(
      'ledger.proof',
      `entry ${entry.seq} of ${entry.author} was proved instead of the chain head ${seq}`,
    );
  }
  return { seq, hash, proved: true };
}

function readUpdate({ note, consistency }: Ack['checkpoint']): CheckpointUpdate {
  return {
    note,
    consistency: consistency.map((text) => {
      const hash = decodeBase64Hash(text);
      if (hash === undefined) throw new AppError('validation.protocol', 'a consistency proof hash is not one');
      return hash;
    }),
  };
}

function requireNext(batch: readonly SignedEntry[], afterSeq: number): void {
  const gap = batch.find(({ entry }, at) => entry.seq !== afterSeq + 1 + at);
  if (gap === undefined) return;
  throw new AppError('outbox.corrupt', `the outbox gave entry ${gap.entry.seq} in a batch after ${afterSeq}`);
}

function otherLog(offered: string, enrolled: string): AppError {
  return new AppError(
    'auth.signature',
    `the collector speaks for the log ${offered}, but this node is enrolled with ${enrolled}; check the collector URL or enrol again`,
  );
}

function refused({ code, message, retryable }: MessageOf<CollectorMessage, 'refused'>): AppError {
  return new AppError('collector.refused', `the collector refused (${code}): ${message}`, {
    retryable,
    details: { code },
  });
}
