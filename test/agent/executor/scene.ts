import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http, { type IncomingMessage } from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { type RunningExecutor, startExecutor } from '../../../agent/executor/executor.ts';
import type { Log } from '../../../agent/executor/log.ts';
import { type OrderEntry, orderHeader } from '../../../agent/executor/order-header.ts';
import type { SeenContainer } from '../../../agent/executor/seen-container.ts';
import { rfc3339 } from '../../../common/clock.ts';
import type { DesiredContainer } from '../../../common/desired.ts';
import { wantedText } from '../../../common/enforcement/wanted.ts';
import { collectorAuthor, genesis, sealEntry } from '../../../common/entry.ts';
import { generateKeyPair, type KeyPair } from '../../../common/keys.ts';
import { type Order, orderHash } from '../../../common/order.ts';

export const nowMs = Date.parse('2026-03-01T12:00:00.000Z');
export const node = 'lyra';
export const ids = { ordered: 'a'.repeat(64), other: 'b'.repeat(64), made: 'c'.repeat(64) } as const;

/** What the engine of a scene begins to answer, and never ends. */
export const slowPath = `/containers/${ids.other}/changes`;
/** What it does not answer at all. */
export const silentPath = `/containers/${ids.other}/json`;
/** What it answers whole, on a connection that it leaves open. */
export const lingeringPath = '/images/sigilwatch/good:eeeeeeeeeeee?noprune=true';
/** Its answer to this is as long as anybody reads. */
export const endlessPath = `/containers/${ids.other}/logs`;

export interface Keys {
  readonly collector: KeyPair;
  readonly node: KeyPair;
}

export function makeKeys(): Keys {
  return { collector: generateKeyPair(), node: generateKeyPair() };
}

/** An order that is in force, but for what is said otherwise. */
export function makeOrder(differing: Partial<Order> = {}): Order {
  return {
    ...{ node, action: 'terminate', container: 'web', containerId: ids.ordered, drift: null, commit: 'c0ffee' },
    ...{ origin: 'operator', by: 'anna', reason: 'not wanted', approvals: 0, nonce: '0'.repeat(32) },
    ...{ issuedAt: rfc3339(nowMs - 1_000), expiresAt: rfc3339(nowMs + 60_000) },
    ...differing,
  };
}

/** The order as the collector puts it on record, or, when it is a node's own, as the node does. */
export function sealOrder(order: Order, keys: Keys): OrderEntry {
  const isLocal = order.origin === 'local';
  const author = isLocal ? node : collectorAuthor;
  const { privateKey } = isLocal ? keys.node : keys.collector;
  const kind = isLocal ? 'order.local' : 'order.issued';
  const { bytes, signature } = sealEntry({ kind, body: { order } }, { author, head: genesis, now: nowMs, privateKey });
  return { text: bytes.toString('utf8'), signature: signature.toString('base64') };
}

export interface Reached {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface Answer {
  readonly status: number;
  /** The code of a refusal; undefined when the engine answered. */
  readonly code: unknown;
  readonly text: string;
}

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly order?: Order | undefined;
  /** What the order commits to, whole. */
  readonly wanted?: DesiredContainer | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Sent in chunks of unknown number. */
  readonly stream?: readonly Buffer[];
}

/** An executor before something that takes every request for its own, and writes down what reached it. */
export interface Scene {
  readonly socketPath: string;
  readonly enginePath: string;
  readonly keys: Keys;
  /** What reached the engine, but for what the executor asks by itself. */
  readonly reached: Reached[];
  /** Containers that the engine has, with what is asked about them. */
  readonly containers: Map<string, SeenContainer>;
  readonly lines: string[];
  readonly executor: RunningExecutor;
  /** Answers that the engine has not ended, and that somebody still waits for. */
  waiting(): number;
  /** Bytes that somebody took of answers at {@link endlessPath}. */
  poured(): number;
  /** Unix milliseconds by the executor's clock. */
  setNow(ms: number): void;
  ask(asked: Asked): Promise<Answer>;
  /** Writes bytes as they are, and resolves with all that comes back until the connection ends. */
  raw(bytes: Buffer | string): Promise<string>;
  stop(): Promise<void>;
}

export async function startScene({ allowLocal }: { readonly allowLocal: boolean } = { allowLocal: false }) {
  const dir = mkdtempSync(join(tmpdir(), 'sgw-exec-'));
  const [socketPath, enginePath] = [join(dir, 'executor.sock'), join(dir, 'engine.sock')];
  const keys = makeKeys();
  const engine = await startRecorder(enginePath);
  const lines: string[] = [];
  const log: Log = (level, event, fields) => void lines.push(JSON.stringify({ level, event, ...fields }));
  const clock = { ms: nowMs };
  const nodeKey = allowLocal ? keys.node.publicKey : undefined;
  const trust = { node, collectorKeys: [keys.collector.publicKey], nodeKey };
  const settings = { socketPath, enginePath, groupId: undefined, trust };
  const executor = await startExecutor(settings, { now: () => clock.ms, log });
  const scene: Scene = {
    ...{ socketPath, enginePath, keys, lines, executor, reached: engine.reached, containers: engine.containers },
    waiting: () => engine.waiting.size,
    poured: () => engine.poured.bytes,
    setNow: (ms) => {
      clock.ms = ms;
    },
    ask: (asked) => ask(socketPath, keys, asked),
    raw: (bytes) => raw(socketPath, bytes),
    stop: async () => {
      await executor.stop();
      engine.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return scene;
}

async function startRecorder(enginePath: string) {
  const reached: Reached[] = [];
  const containers: Scene['containers'] = new Map();
  const waiting = new Set<http.ServerResponse>();
  const poured = { bytes: 0 };
  const respond = (request: IncomingMessage, response: http.ServerResponse, body: Buffer): void => {
    const { method = '', url = '', headers } = request;
    if (request.httpVersion === '1.0') {
      describe(containers, url, response);
      return;
    }
    reached.push({ method, url, headers, body });
    if (![slowPath, silentPath, endlessPath, lingeringPath].includes(url)) {
      response.setHeader('Content-Type', 'application/json');
      response.end(JSON.stringify({ from: 'engine' }));
      return;
    }
    waiting.add(response);
    response.once('close', () => waiting.delete(response));
    if (url === slowPath) response.write('{');
    if (url === lingeringPath) response.writeHead(200, { 'Content-Length': 2 }).write('{}');
    if (url === endlessPath) pour(response, poured);
  };
  const server = http.createServer((request, response) => {
    // A request that breaks off has not reached anything.
    buffer(request).then(
      (body) => respond(request, response, body),
      () => {},
    );
  });
  server.listen(enginePath);
  await once(server, 'listening');
  const stop = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { reached, containers, waiting, poured, stop };
}

function pour(response: http.ServerResponse, poured: { bytes: number }): void {
  const piece = Buffer.alloc(64 * 1024, 'x');
  const more = (): void => {
    while (!response.destroyed) {
      poured.bytes += piece.length;
      if (!response.write(piece)) return;
    }
  };
  response.on('drain', more);
  more();
}

/** Answers what the executor asks on its own account. */
function describe(containers: Scene['containers'], url: string, response: http.ServerResponse): void {
  const id = /^\/containers\/([0-9a-f]{64})\/json$/.exec(url)?.[1] ?? '';
  const found = containers.get(id);
  response.writeHead(found === undefined ? 404 : 200, { 'Content-Type': 'application/json' });
  const state = { Running: found?.isRunning };
  const mounts = found?.mounted?.map((mount) => {
    const [Source, Destination, mode] = mount.split(':');
    return { Type: 'bind', Source, Destination, RW: mode === 'rw' };
  });
  const described = { Id: id, Name: `/${found?.name}`, State: state, Config: { Labels: found?.labels } };
  response.end(JSON.stringify({ ...described, Mounts: mounts }));
}

/** The label of what is made for an order. */
export function madeFor(order: Order): Readonly<Record<string, string>> {
  return { 'sigilwatch.order': orderHash(order) };
}

async function ask(socketPath: string, keys: Keys, { method, path, order, wanted, headers, body, stream }: Asked) {
  const sent = body === undefined ? undefined : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
  const all = {
    ...(order === undefined ? {} : orderHeader(sealOrder(order, keys))),
    ...(wanted === undefined ? {} : { 'X-Sigilwatch-Wanted': Buffer.from(wantedText(wanted)).toString('base64') }),
    ...(sent === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': `${sent.length}` }),
    ...headers,
  };
  const request = http.request({ socketPath, method, path, headers: all, agent: false });
  const answered = once(request, 'response');
  for (const piece of stream ?? []) request.write(piece);
  request.end(sent);
  const [response]: IncomingMessage[] = await answered;
  if (response === undefined) throw new Error('no answer');
  const text = (await buffer(response)).toString('utf8');
  return { status: response.statusCode ?? 0, code: codeOf(text), text };
}

function codeOf(text: string): unknown {
  const json: unknown = text.startsWith('{') ? JSON.parse(text) : undefined;
  return typeof json === 'object' && json !== null && 'code' in json ? json.code : undefined;
}

function raw(socketPath: string, bytes: Buffer | string): Promise<string> {
  return new Promise((resolve) => {
    const client = net.connect(socketPath);
    let text = '';
    client.setEncoding('latin1');
    client.on('data', (chunk: string) => {
      text += chunk;
    });
    client.on('error', () => {});
    client.once('close', () => resolve(text));
    client.write(bytes);
  });
}
