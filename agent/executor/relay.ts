import { connect, type Socket } from 'node:net';
import { limits } from '../../common/limits.ts';
import { isRefused, type Refused, refused } from './refused.ts';
import type { Upload } from './upload.ts';

/** One request on its way to the engine. Each has a connection of its own, which ends with the answer. */
export interface Passage {
  readonly method: string;
  readonly target: string;
  /** Whole, looked at and written anew; or what the client still sends. */
  readonly body: Buffer | Upload | undefined;
  /** What came of the client's upload so far. */
  readonly rest: Buffer;
  /** Silence that is taken for the engine's end. */
  readonly idleMs: number;
  /** An answer that has no end and may be silent for as long as it likes, once it has begun. */
  readonly isEndless: boolean;
}

/**
 * How it went. `unreachable`: the engine has not seen anything of it. `client_gone`: the client left before it had sent the whole or the
 * engine began to answer. Whoever leaves later has its answer, or enough of it: who has read the whole need not wait for the end of the
 * connection.
 */
export type Passed =
  | 'answered'
  | 'unreachable'
  | 'engine_gone'
  | 'engine_silent'
  | 'client_gone'
  | 'client_stalled'
  | Refused;

export interface PassageEnd {
  readonly how: Passed;
  /** Status code of the engine's answer, once it has begun. */
  readonly status: number | undefined;
}

/**
 * Passes a request on and the answer back, as it comes: neither is held back or understood, and whoever is slow slows the other.
 * An engine that cannot be reached, or falls silent, shows to the client as a connection that breaks, as it would without us.
 * Resolves when both connections are closed or on their way to it.
 */
export function relay(client: Socket, passage: Passage, enginePath: string): Promise<PassageEnd> {
  return new Promise((resolve) => {
    const engine = connect(enginePath);
    let status: number | undefined;
    let isConnected = false;
    let isOver = false;

    const finish = (how: Passed): void => {
      if (isOver) return;
      isOver = true;
      engine.destroy();
      if (how !== 'answered') client.destroy();
      resolve({ how, status });
    };
    const send = sender(passage, engine, client, finish);
    const left = (): void => {
      if (isOver) return;
      finish(status !== undefined && send.isWhole() ? 'answered' : 'client_gone');
      client.destroy();
    };

    engine.setTimeout(limits.executorConnectTimeoutMs);
    engine.once('connect', () => {
      isConnected = true;
      engine.setTimeout(passage.idleMs);
      engine.write(headOf(passage));
      send.begin();
    });
    engine.on('data', (chunk) => {
      status ??= statusOf(chunk);
      if (client.writable && !client.write(chunk)) engine.pause();
    });
    client.on('drain', () => engine.resume());
    engine.once('end', () => {
      if (!client.writable) return left();
      // Takes along what was not read yet; then the client closes, or is made to.
      client.setTimeout(limits.executorStallMs, () => client.destroy());
      client.end();
      finish('answered');
    });
    engine.on('timeout', () => {
      if (isConnected && passage.isEndless && status !== undefined) return;
      // Nothing can come from the engine while the client does not take what came before.
      if (client.writableLength === 0) finish(isConnected ? 'engine_silent' : 'unreachable');
    });
    engine.on('error', () => finish(isConnected ? 'engine_gone' : 'unreachable'));
    engine.once('close', () => finish('engine_gone'));
    client.on('data', (chunk) => {
      if (!isOver) send.take(chunk);
    });
    client.once('close', left);
    client.once('end', left);
    client.setTimeout(limits.executorStallMs);
    client.on('timeout', () => {
      if (client.writableLength > 0) finish('client_stalled');
    });
    if (client.destroyed) finish('client_gone');
    else if (passage.body === undefined || Buffer.isBuffer(passage.body)) client.resume();
  });
}

/** What goes from the client to the engine. */
function sender({ body, rest }: Passage, engine: Socket, client: Socket, finish: (how: Passed) => void) {
  const upload = Buffer.isBuffer(body) ? undefined : body;
  const pieces = (chunk: Buffer): readonly Buffer[] | Refused =>
    upload?.feed(chunk) ?? refused('request.form', 'the request is followed by more');
  const take = (chunk: Buffer): void => {
    const sent = pieces(chunk);
    if (isRefused(sent)) finish(sent);
    else if (sent.map((piece) => engine.write(piece)).includes(false)) client.pause();
  };
  engine.on('drain', () => client.resume());
  return {
    take,
    isWhole: (): boolean => upload?.isWhole() ?? true,
    begin: (): void => {
      if (rest.length > 0) take(rest);
      if (!engine.destroyed && !engine.writableNeedDrain) client.resume();
    },
  };
}

/** Nothing in it is the client's own spelling. */
function headOf({ method, target, body }: Passage): Buffer {
  const head = `${method} ${target} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n${bodyHeaders(method, body)}\r\n`;
  return Buffer.isBuffer(body) ? Buffer.concat([Buffer.from(head), body]) : Buffer.from(head);
}

function bodyHeaders(method: string, body: Passage['body']): string {
  if (body === undefined) return method === 'POST' ? 'Content-Length: 0\r\n' : '';
  if (Buffer.isBuffer(body)) return `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
  return `Content-Type: application/x-tar\r\n${body.header}`;
}

/** For the log only. */
function statusOf(firstChunk: Buffer): number {
  const [, digits = '0'] = /^HTTP\/1\.[01] ([0-9]{3})/.exec(firstChunk.subarray(0, 16).toString('latin1')) ?? [];
  return Number(digits);
}
