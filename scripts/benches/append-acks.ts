import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { loadIdentity } from '../../agent/identity.ts';
import { systemClock } from '../../collector/clock.ts';
import { parseCheckpoint } from '../../common/checkpoint.ts';
import { cosign } from '../../common/cosignature.ts';
import { fingerprint, type KeyPair, signBytes } from '../../common/keys.ts';
import { type NoteSigner, parseNote } from '../../common/note.ts';
import {
  type AgentMessage,
  type CollectorMessage,
  collectorMessage,
  handshakeBytes,
  type MessageOf,
  parseMessage,
  socketPath,
  subprotocol,
  toWire,
} from '../../common/protocol.ts';
import { nodeWitnessSigner } from '../../common/witnesses.ts';
import { enrolNode, makeTemporaryFolder, type RunningCollector, startCollector } from '../../test/system.ts';
import { until } from '../../test/until.ts';
import { benchAuthor } from './append-entries.ts';
import { inBatches, sessions } from './append-ground.ts';

export interface AcksOptions {
  readonly entriesPerSecond: number;
  readonly seconds: number;
  readonly progress: (text: string) => void;
}

export interface Acks {
  /** From a frame given to the agent's socket to its ack received there, milliseconds. */
  readonly waitedMs: readonly number[];
  /** What was really sent. */
  readonly entriesPerSecond: number;
}

/** What an agent sends at once: a twentieth of a second's worth, more or less. */
const framesPerSecond = 20;

/**
 * A built collector with its own PostgreSQL, checkpoint file and rounds of cosigning, and agents on loopback sockets that
 * send at a steady rate, whatever comes back. Seen from the agents' end, so that both ways over the socket are counted too.
 */
export async function measureAcks({ entriesPerSecond, seconds, progress }: AcksOptions): Promise<Acks> {
  progress('starting a collector and enrolling its agents');
  const { path } = makeTemporaryFolder('sgw-bench-acks-');
  const collector = await startCollector({ dir: join(path, 'collector') });
  const perFrame = Math.max(1, Math.round(entriesPerSecond / sessions / framesPerSecond));
  const names = Array.from({ length: sessions }, (_, at) => `node${at + 1}`);
  const agents = await Promise.all(
    names.map(async (node) => {
      await enrolNode(collector, node, join(path, node));
      return connectAgent(collector, join(path, node));
    }),
  );
  progress(`${seconds} s of ${entriesPerSecond} entries per second in frames of ${perFrame}`);
  for (const agent of agents)
    agent.prepare(Math.ceil((entriesPerSecond / sessions) * (seconds + warmUpSeconds)), perFrame);
  const gapMs = (1_000 * perFrame * sessions) / entriesPerSecond;
  const startMs = performance.now() + 100;
  await Promise.all(agents.map((agent, at) => agent.run({ firstMs: startMs + (at * gapMs) / sessions, gapMs })));
  const tookSeconds = (performance.now() - startMs) / 1_000;
  const sent = agents.reduce((sum, { frames }) => sum + frames, 0) * perFrame;
  for (const agent of agents) agent.close();
  await collector.stop();
  const counted = agents.flatMap(({ waits }) =>
    waits.filter(({ sentMs }) => sentMs >= startMs + warmUpSeconds * 1_000),
  );
  return { waitedMs: counted.map(({ waitedMs }) => waitedMs), entriesPerSecond: sent / tookSeconds };
}

/** Not counted: the collector's code is not compiled yet. */
const warmUpSeconds = 2;

interface Wait {
  readonly sentMs: number;
  readonly waitedMs: number;
}

/** One agent that does not check what it is told: that costs the other machine, not the collector. */
interface LoadAgent {
  readonly waits: readonly Wait[];
  /** How many frames it has. */
  readonly frames: number;
  /** Makes and signs what will be sent. */
  prepare(entries: number, perFrame: number): void;
  /** Sends a frame every `gapMs` from `firstMs` on. Resolves with the last ack. */
  run(schedule: { readonly firstMs: number; readonly gapMs: number }): Promise<void>;
  close(): void;
}

async function connectAgent({ url }: RunningCollector, dir: string): Promise<LoadAgent> {
  const { node, keys, collector } = await loadIdentity(dir);
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}${socketPath}`, subprotocol);
  const waits: Wait[] = [];
  const underWay: { readonly lastSeq: number; readonly sentMs: number }[] = [];
  let frames: readonly { readonly text: string; readonly lastSeq: number }[] = [];
  let welcomed = false;
  let ended: Error | undefined;
  const send = (message: AgentMessage) => socket.send(JSON.stringify(message));
  const acknowledged = (throughSeq: number): void => {
    const nowMs = performance.now();
    for (let oldest = underWay[0]; oldest !== undefined && oldest.lastSeq <= throughSeq; oldest = underWay[0]) {
      waits.push({ sentMs: oldest.sentMs, waitedMs: nowMs - oldest.sentMs });
      underWay.shift();
    }
  };
  const hear = (message: CollectorMessage): void => {
    if (message.type === 'challenge') send(proofOf(message, node, keys));
    if (message.type === 'welcome') welcomed = true;
    if (message.type === 'ack') acknowledged(message.entries.at(-1)?.seq ?? 0);
    if (message.type === 'checkpoint') send(cosigned(message, nodeWitnessSigner(collector.origin, node, keys)));
    if (message.type === 'refused') ended = new Error(`${node} was refused: ${message.message}`);
  };
  socket.on('message', (data) => hear(parseMessage(collectorMessage, data.toString())));
  socket.on('close', () => {
    ended ??= new Error(`the session of ${node} has ended`);
  });
  await once(socket, 'open');
  send({ type: 'hello', node, fingerprint: fingerprint(keys.publicKey), version: 'bench', checkpoint: null });
  const waitUntil = (what: string, holds: () => boolean) =>
    until(what, async () => {
      if (ended !== undefined) throw ended;
      return holds();
    });
  await waitUntil(`${node} is welcome`, () => welcomed);
  return {
    waits,
    get frames() {
      return frames.length;
    },
    prepare: (entries, perFrame) => {
      frames = inBatches(benchAuthor(node, keys).sign(entries), perFrame).map((batch) => ({
        text: JSON.stringify({ type: 'append', entries: batch.map(toWire) }),
        lastSeq: batch.at(-1)?.entry.seq ?? 0,
      }));
    },
    run: async ({ firstMs, gapMs }) => {
      for (const [at, { text, lastSeq }] of frames.entries()) {
        const dueMs = firstMs + at * gapMs;
        await delay(Math.max(0, dueMs - performance.now()));
        // Counted from when it was due: who is late because the machine is must not hide it.
        underWay.push({ lastSeq, sentMs: Math.min(dueMs, performance.now()) });
        socket.send(text);
      }
      await waitUntil(`the last entry of ${node} is acknowledged`, () => underWay.length === 0);
    },
    close: () => {
      ended = undefined;
      socket.terminate();
    },
  };
}

function proofOf(challenge: MessageOf<CollectorMessage, 'challenge'>, node: string, keys: KeyPair): AgentMessage {
  const signature = signBytes(keys.privateKey, handshakeBytes(challenge, node)).toString('base64');
  return { type: 'proof', signature };
}

/** Without a look at the proof: see {@link LoadAgent}. */
function cosigned({ checkpoint }: MessageOf<CollectorMessage, 'checkpoint'>, signer: NoteSigner): AgentMessage {
  const { text } = parseNote(checkpoint.note);
  const { signature } = cosign(text, signer, systemClock.now());
  return { type: 'cosign', size: parseCheckpoint(text).size, cosignature: signature.toString('base64') };
}
