import type { Clock } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { verifyBytes } from '../../common/keys.ts';
import type { Kind } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import {
  type AgentMessage,
  agentMessage,
  type CollectorMessage,
  type Holding,
  handshakeBytes,
  type MessageOf,
  parseMessage,
} from '../../common/protocol.ts';
import type { MeasureDispatch } from '../enforcement/measure-ports.ts';
import type { OrderDispatch } from '../enforcement/ports.ts';
import { type AppendPipeline, createAppendPipeline } from './append-pipeline.ts';
import type { NodeKey, NodeKeys, RoundCheckpoint, SessionLedger, Witnessing } from './ports.ts';
import type { NodeRate } from './token-bucket.ts';
import type { Author, VerifyEntries } from './verify.ts';
import { welcomeFor } from './welcome.ts';

type Hello = MessageOf<AgentMessage, 'hello'>;

type Turn = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * Run work for a few sessions at once, first come first served. When a fleet comes back in one instant and all of it is worked on together,
 * each waits as long as all take: they leave before they are welcome, and come again. And what the welcomed have to say waits behind them.
 */
export interface HandshakeTurns {
  /** Looks up a key and checks a proof. */
  readonly prove: Turn;
  /** Reads what a welcome says. */
  readonly welcome: Turn;
}

export interface AgentSessionOptions {
  readonly ledger: SessionLedger;
  readonly nodes: NodeKeys;
  readonly verify: VerifyEntries;
  readonly rounds: Witnessing;
  readonly clock: Clock;
  readonly random: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** 32 random bytes, never used before. */
  readonly nonce: Buffer;
  /** The rate limit of a node; the same one for all its sessions, so that reconnecting does not refill it. */
  readonly rateOf: (node: string) => NodeRate;
  /** Without them everybody is looked after at once. */
  readonly turns?: HandshakeTurns;
  /** Makes this the node's one session. @throws AppError `state.conflict` while another one is alive. */
  readonly claim: (hello: Hello) => Promise<void>;
  /** Resolves when the message has left for the network. */
  readonly send: (message: CollectorMessage) => Promise<void>;
  /** Hears of failures outside {@link AgentSession.receive}; the session is over then. */
  readonly fail: (thrown: unknown) => void;
  readonly over: () => boolean;
  /** Hears of every batch once its ack has left: its entries, and the milliseconds since its frame came. */
  readonly acknowledged: (entries: number, tookMs: number) => void;
  /** Hears what kinds of entries a batch was of, once it is committed and before its ack leaves. Must not throw. */
  readonly appended: (kinds: readonly Kind[]) => void;
  /** Hears that the session is open: the welcome was sent. Must not throw. */
  readonly opened: () => void;
  /** Hears what the node says it has of the desired state. Must not throw. */
  readonly held: (holding: Holding) => void;
}

export interface Frame {
  readonly text: string;
  /** When it was read from the socket, monotonic milliseconds. */
  readonly receivedMs: number;
}

/** The collector's side of one connection, without the socket. All that comes in is hostile until proved otherwise. */
export interface AgentSession {
  /** True once the welcome was sent. */
  readonly open: boolean;
  /** True once the agent has sent its proof: what the handshake waits for is ours from then on. */
  readonly proofSent: boolean;
  /**
   * Takes the next frame; one call at a time. Resolves when the next one should be read: later, when the node is over
   * its rate or the ledger is slow.
   * @throws AppError when the session is over; what to tell the agent is `refusalOf` of it.
   */
  receive(frame: Frame): Promise<void>;
  /** Asks the agent to cosign; no effect while the session is not open. */
  offer(checkpoint: RoundCheckpoint): void;
  /** Sends an order with its proof. @returns false while the session is not open, or when too many orders are waiting. */
  order(dispatch: OrderDispatch): boolean;
  /** Sends a measure with its proof. @returns false while the session is not open, or when too many are waiting. */
  measure(dispatch: MeasureDispatch): boolean;
  /** Says that what concerns the node has been sent, behind it. @returns false while the session is not open. */
  measured(all: boolean): boolean;
  /** Hands over a git bundle, in parts. @returns false while the session is not open, and for a bundle that is too large. */
  desired(commit: string, bundle: Buffer): boolean;
}

type Phase =
  | { readonly name: 'awaiting hello' }
  | { readonly name: 'awaiting proof'; readonly hello: Hello }
  | { readonly name: 'awaiting welcome' }
  | OpenPhase;

interface OpenPhase {
  readonly name: 'open';
  readonly author: Author;
  readonly pipeline: AppendPipeline;
  readonly rate: NodeRate;
}

export function createAgentSession(options: AgentSessionOptions): AgentSession {
  const { ledger, rounds, clock, sleep, send, turns = noTurns } = options;
  const challenge = { nonce: options.nonce.toString('base64'), origin: ledger.origin };
  let phase: Phase = { name: 'awaiting hello' };

  async function admit(hello: Hello, proof: MessageOf<AgentMessage, 'proof'>): Promise<void> {
    phase = { name: 'awaiting welcome' };
    const proven = { proof, message: handshakeBytes(challenge, hello.node) };
    // Nothing is done for somebody who has left meanwhile.
    const key = await turns.prove(async () => (options.over() ? undefined : provenKey(options, hello, proven)));
    if (key === undefined) return;
    await options.claim(hello);
    const welcome = await turns.welcome(async () => {
      if (options.over()) return undefined;
      // A revocation cuts the sessions it finds, and ours only counts since the claim: look again.
      await provenKey(options, hello, proven);
      return welcomeFor(options, hello);
    });
    if (welcome === undefined) return;
    const author = { node: hello.node, publicKey: key.publicKey };
    const pipeline = createAppendPipeline({ ...options, author, startSize: welcome.size });
    // Nothing goes out before the welcome: what is offered from here on waits behind it in the socket.
    phase = { name: 'open', author, pipeline, rate: options.rateOf(hello.node) };
    await send(welcome.message);
    options.opened();
  }

  async function take(frame: Frame, { entries }: MessageOf<AgentMessage, 'append'>, open: OpenPhase): Promise<void> {
    const { pipeline, rate } = open;
    const waitMs = rate.take({ entries: entries.length, bytes: Buffer.byteLength(frame.text) }, clock.monotonicMs());
    if (waitMs > 0) await sleep(waitMs);
    await pipeline.offer(entries, frame.receivedMs);
  }

  async function cosigned({ size, cosignature }: MessageOf<AgentMessage, 'cosign'>, { author, pipeline }: OpenPhase) {
    const checkpoint = pipeline.stream.answered(size);
    await rounds.cosigned({ ...author, checkpoint, cosignature: Buffer.from(cosignature, 'base64') });
  }

  async function held({ type: _, ...holding }: MessageOf<AgentMessage, 'holds'>, { rate }: OpenPhase): Promise<void> {
    const waitMs = rate.take({ entries: limits.holdsCostEntries, bytes: 0 }, clock.monotonicMs());
    if (waitMs > 0) await sleep(waitMs);
    options.held(holding);
  }

  async function forked({ held, offered, reason }: MessageOf<AgentMessage, 'fork'>, { author }: OpenPhase) {
    await rounds.forked({ node: author.node, held, offered, reason });
    throw new AppError('ledger.forked', 'the agent was shown a fork, and has nothing more to say', { retryable: true });
  }

  return {
    get open() {
      return phase.name === 'open';
    },
    get proofSent() {
      return phase.name === 'awaiting welcome' || phase.name === 'open';
    },
    receive: async (frame) => {
      const message = parseMessage(agentMessage, frame.text);
      if (message.type === 'hello' && phase.name === 'awaiting hello') {
        // Nothing is looked up for somebody who has proved nothing.
        phase = { name: 'awaiting proof', hello: message };
        return send({ type: 'challenge', ...challenge });
      }
      if (message.type === 'proof' && phase.name === 'awaiting proof') return admit(phase.hello, message);
      if (message.type === 'append' && phase.name === 'open') return take(frame, message, phase);
      if (message.type === 'cosign' && phase.name === 'open') return cosigned(message, phase);
      if (message.type === 'holds' && phase.name === 'open') return held(message, phase);
      if (message.type === 'fork' && phase.name === 'open') return forked(message, phase);
      throw new AppError('validation.protocol', `${message.type} came in a session that is ${phase.name}`);
    },
    offer: (checkpoint) => {
      if (phase.name === 'open') phase.pipeline.stream.offer(checkpoint);
    },
    order: (dispatch) => phase.name === 'open' && phase.pipeline.stream.order(dispatch),
    measure: (dispatch) => phase.name === 'open' && phase.pipeline.stream.measure(dispatch),
    measured: (all) => {
      if (phase.name !== 'open') return false;
      phase.pipeline.stream.measured(all);
      return true;
    },
    desired: (commit, bundle) => {
      if (phase.name !== 'open') return false;
      if (bundle.length > limits.maxOfferedBundleBytes) return false;
      phase.pipeline.stream.desired(commit, bundle);
      return true;
    },
  };
}

const noTurns: HandshakeTurns = { prove: (work) => work(), welcome: (work) => work() };

interface Proof {
  readonly proof: MessageOf<AgentMessage, 'proof'>;
  readonly message: Buffer;
}

/** One answer for an unknown node, another key and a wrong signature, so that nobody can ask which nodes exist. */
async function provenKey({ nodes }: AgentSessionOptions, hello: Hello, { proof, message }: Proof): Promise<NodeKey> {
  const key = await nodes.key(hello.node);
  const signature = Buffer.from(proof.signature, 'base64');
  if (key?.fingerprint !== hello.fingerprint || !verifyBytes(key.publicKey, message, signature)) {
    throw new AppError('auth.signature', `${hello.node} is not enrolled here with the key ${hello.fingerprint}`);
  }
  if (!key.revoked) return key;
  throw new AppError('auth.revoked', `the key ${hello.fingerprint} of ${hello.node} was revoked; enrol the node anew`);
}
