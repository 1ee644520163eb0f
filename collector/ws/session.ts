import { type Clock, rfc3339 } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { verifyBytes } from '../../common/keys.ts';
import {
  type AgentMessage,
  agentMessage,
  type CollectorMessage,
  handshakeBytes,
  type MessageOf,
  parseMessage,
} from '../../common/protocol.ts';
import { type AppendPipeline, createAppendPipeline } from './append-pipeline.ts';
import type { NodeKey, NodeKeys, SessionLedger } from './ports.ts';
import type { TokenBucket } from './token-bucket.ts';
import type { VerifyEntries } from './verify.ts';

type Hello = MessageOf<AgentMessage, 'hello'>;

export interface AgentSessionOptions {
  readonly ledger: SessionLedger;
  readonly nodes: NodeKeys;
  readonly verify: VerifyEntries;
  readonly clock: Clock;
  readonly random: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** 32 random bytes, never used before. */
  readonly nonce: Buffer;
  /** The rate limit of a node; the same one for all its sessions, so that reconnecting does not refill it. */
  readonly rateOf: (node: string) => TokenBucket;
  /** Makes this the node's one session. @throws AppError `state.conflict` while another one is alive. */
  readonly claim: (hello: Hello) => Promise<void>;
  /** Resolves when the message has left for the network. */
  readonly send: (message: CollectorMessage) => Promise<void>;
  /** Hears of failures outside {@link AgentSession.receive}; the session is over then. */
  readonly fail: (thrown: unknown) => void;
  readonly over: () => boolean;
}

/** The collector's side of one connection, without the socket. All that comes in is hostile until proved otherwise. */
export interface AgentSession {
  /** True once the welcome was sent. */
  readonly open: boolean;
  /**
   * Takes the next frame; one call at a time. Resolves when the next one should be read: later, when the node is over
   * its rate or the ledger is slow.
   * @throws AppError when the session is over; what to tell the agent is `refusalOf` of it.
   */
  receive(frame: string): Promise<void>;
}

type Phase =
  | { readonly name: 'awaiting hello' }
  | { readonly name: 'awaiting proof'; readonly hello: Hello }
  | { readonly name: 'open'; readonly pipeline: AppendPipeline; readonly rate: TokenBucket };

export function createAgentSession(options: AgentSessionOptions): AgentSession {
  const { ledger, clock, sleep, send } = options;
  const challenge = { nonce: options.nonce.toString('base64'), origin: ledger.origin };
  let phase: Phase = { name: 'awaiting hello' };

  async function admit(hello: Hello, proof: MessageOf<AgentMessage, 'proof'>): Promise<void> {
    const { publicKey } = await provenKey(options, hello, { proof, message: handshakeBytes(challenge, hello.node) });
    await options.claim(hello);
    // A revocation cuts the sessions it finds, and ours only counts since the claim: look again.
    await provenKey(options, hello, { proof, message: handshakeBytes(challenge, hello.node) });
    const welcome = await welcomeFor(options, hello);
    const author = { node: hello.node, publicKey };
    const pipeline = createAppendPipeline({ ...options, author, checkpointSize: welcome.size });
    phase = { name: 'open', pipeline, rate: options.rateOf(hello.node) };
    await send(welcome.message);
  }

  async function take({ entries }: MessageOf<AgentMessage, 'append'>, { pipeline, rate }: Phase & { name: 'open' }) {
    const waitMs = rate.take(entries.length, clock.monotonicMs());
    if (waitMs > 0) await sleep(waitMs);
    await pipeline.offer(entries);
  }

  return {
    get open() {
      return phase.name === 'open';
    },
    receive: async (frame) => {
      const message = parseMessage(agentMessage, frame);
      if (message.type === 'hello' && phase.name === 'awaiting hello') {
        // Nothing is looked up for somebody who has proved nothing.
        phase = { name: 'awaiting proof', hello: message };
        return send({ type: 'challenge', ...challenge });
      }
      if (message.type === 'proof' && phase.name === 'awaiting proof') return admit(phase.hello, message);
      if (message.type === 'append' && phase.name === 'open') return take(message, phase);
      throw new AppError('validation.protocol', `${message.type} came in a session that is ${phase.name}`);
    },
  };
}

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

async function welcomeFor({ ledger, clock }: AgentSessionOptions, { node, checkpointSize }: Hello) {
  const head = await ledger.authorHead(node);
  const { size, note } = await ledger.checkpoint();
  // To an agent that has seen more than we have there is nothing to prove; it has to know.
  const proof = checkpointSize > size ? [] : await ledger.consistency(checkpointSize, size);
  const consistency = proof.map((hash) => hash.toString('base64'));
  const message: MessageOf<CollectorMessage, 'welcome'> = {
    type: 'welcome',
    head: { seq: head.seq, hash: head.hash },
    checkpoint: { note, consistency },
    now: rfc3339(clock.now()),
  };
  return { message, size };
}
