import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { loadIdentity } from '../../agent/identity.ts';
import { systemClock } from '../../collector/clock.ts';
import { parseCheckpoint } from '../../common/checkpoint.ts';
import { cosign } from '../../common/cosignature.ts';
import { fingerprint, type KeyPair, signBytes } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
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
import { ackQuantileMs, readAckTimes } from './ack-times.ts';
import { benchAuthor } from './append-entries.ts';
import { sessions } from './append-ground.ts';

export interface AcksOptions {
  /** Of an empty database, in a server whose log has files to be written again: a new file of it costs everybody a while. */
  readonly databaseUrl: string;
  readonly entriesPerSecond: number;
  readonly seconds: number;
  readonly progress: (text: string) => void;
}

export interface Acks {
  /** From the frame of an append read by the collector to its ack given to the network, by its own metrics, milliseconds. */
  readonly tookMs: { readonly p50: number; readonly p99: number };
  /** From a frame given to the agent's socket to its ack having come back there, milliseconds, for each frame. */
  readonly waitedMs: readonly number[];
  /** What was really sent. */
  readonly entriesPerSecond: number;
}

/** How often a node has something to say. */
const statementsPerSecond = 20;

/**
 * A built collector with its own database, checkpoint file and rounds of cosigning, and agents on loopback sockets that
 * send at a steady rate, whatever comes back. Seen from the agents' end, so that both ways over the socket are counted too.
 */
export async function measureAcks({ databaseUrl, entriesPerSecond, seconds, progress }: AcksOptions): Promise<Acks> {
  progress('starting a collector and enrolling its agents');
  const { path } = makeTemporaryFolder('sgw-bench-acks-');
  const collector = await startCollector({ dir: join(path, 'collector'), env: { DATABASE_URL: databaseUrl } });
  const names = Array.from({ length: sessions }, (_, at) => `node${at + 1}`);
  const agents = await Promise.all(
    names.map(async (node) => {
      await enrolNode(collector, node, join(path, node));
      return connectAgent(collector, join(path, node));
    }),
  );
  const perStatement = Math.max(1, Math.round(entriesPerSecond / sessions / statementsPerSecond));
  const entries = Math.ceil((entriesPerSecond / sessions) * (seconds + warmUpSeconds));
  progress(`${seconds} s of ${Math.round(entriesPerSecond)} entries per second`);
  for (const agent of agents) agent.prepare(entries);
  const gapMs = (1_000 * perStatement * sessions) / entriesPerSecond;
  const startMs = performance.now() + 100;
  const warm = delay(100 + warmUpSeconds * 1_000).then(() => readAckTimes(collector));
  await Promise.all(
    agents.map((agent, at) => agent.run({ firstMs: startMs + (at * gapMs) / sessions, gapMs, perStatement })),
  );
  const tookSeconds = (performance.now() - startMs) / 1_000;
  const [before, after] = [await warm, await readAckTimes(collector)];
  const tookMs = { p50: ackQuantileMs(before, after, 0.5), p99: ackQuantileMs(before, after, 0.99) };
  for (const agent of agents) agent.close();
  await collector.stop();
  const counted = agents.flatMap(({ waits }) =>
    waits.filter(({ sentMs }) => sentMs >= startMs + warmUpSeconds * 1_000),
  );
  return {
    tookMs,
    waitedMs: counted.map(({ waitedMs }) => waitedMs),
    entriesPerSecond: (entries * sessions) / tookSeconds,
  };
}

const patienceMs = 60_000;

/** Not counted: V8 compiles the collector's code while it runs, and at such rates has most of it after ten seconds. */
const warmUpSeconds = 10;

interface Wait {
  readonly sentMs: number;
  readonly waitedMs: number;
}

/**
 * One agent that does not check what it is told: that costs the other machine, not the collector. It sends as agents do:
 * at once what there is, in one frame, unless four of them are not acknowledged.
 */
interface LoadAgent {
  readonly waits: readonly Wait[];
  /** Makes and signs what will be sent. */
  prepare(entries: number): void;
  /** Has `perStatement` entries to send every `gapMs` from `firstMs` on. Resolves with the last ack. */
  run(schedule: { readonly firstMs: number; readonly gapMs: number; readonly perStatement: number }): Promise<void>;
  close(): void;
}

async function connectAgent({ url }: RunningCollector, dir: string): Promise<LoadAgent> {
  const { node, keys, collector } = await loadIdentity(dir);
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}${socketPath}`, subprotocol);
  const waits: Wait[] = [];
  const underWay: { readonly lastSeq: number; readonly sentMs: number }[] = [];
  /** As JSON, ready to be put into a frame. */
  let prepared: readonly string[] = [];
  let due = 0;
  let sent = 0;
  let welcomed = false;
  let ended: Error | undefined;
  const send = (message: AgentMessage) => socket.send(JSON.stringify(message));
  const pump = (): void => {
    while (sent < due && underWay.length < limits.maxAppendsInFlight) {
      const batch = prepared.slice(sent, Math.min(due, sent + limits.maxAppendEntries));
      sent += batch.length;
      underWay.push({ lastSeq: sent, sentMs: performance.now() });
      socket.send(`{"type":"append","entries":[${batch.join(',')}]}`);
    }
  };
  const acknowledged = (throughSeq: number): void => {
    const nowMs = performance.now();
    for (let oldest = underWay[0]; oldest !== undefined && oldest.lastSeq <= throughSeq; oldest = underWay[0]) {
      waits.push({ sentMs: oldest.sentMs, waitedMs: nowMs - oldest.sentMs });
      underWay.shift();
    }
    pump();
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
    until(
      what,
      async () => {
        if (ended !== undefined) throw ended;
        return holds();
      },
      patienceMs,
    );
  await waitUntil(`${node} is welcome`, () => welcomed);
  return {
    waits,
    prepare: (entries) => {
      prepared = benchAuthor(node, keys)
        .sign(entries)
        .map((entry) => JSON.stringify(toWire(entry)));
    },
    run: async ({ firstMs, gapMs, perStatement }) => {
      for (let at = 0; due < prepared.length; at++) {
        await delay(Math.max(0, firstMs + at * gapMs - performance.now()));
        due = Math.min(prepared.length, due + perStatement);
        pump();
      }
      await waitUntil(`the last entry of ${node} is acknowledged`, () => underWay.length === 0 && sent === due);
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
