import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { Hono } from 'hono';
import type { HttpEnv } from '../../../collector/http/env.ts';
import { errorAnswer } from '../../../collector/http/errors.ts';
import { type AnswerBounds, boundedAnswers } from '../../../collector/http/open-log.ts';
import { createHttpServer } from '../../../collector/http/server.ts';
import { together } from '../../../collector/http/together.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';

/** More than the buffers of a connection within one machine take. */
const largeBytes = 16 * 1024 * 1024;
const roomy: AnswerBounds = { answers: 100, answersPerAddress: 100, bytes: 100 * largeBytes, timeoutMs: 60_000 };

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

interface OpenLog {
  readonly port: number;
  /** Of the answer for `path`, by default a small one. */
  status(path?: string): Promise<number>;
  /** Asks for `path` and never reads the answer. @returns the socket, once the answer has begun to leave. */
  stall(path: string): Promise<Socket>;
  /** Lets requests for `/log/held` be answered. */
  letGo(): void;
  held(): number;
}

async function serve(bounds: Partial<AnswerBounds>): Promise<OpenLog> {
  const app = new Hono<HttpEnv>();
  app.onError((thrown, c) => errorAnswer(c, thrown, quietLogger));
  app.use('/log/*', boundedAnswers({ ...roomy, ...bounds }));
  let held = 0;
  let letGo = () => {};
  const released = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  app.get('/log/small', (c) => c.text('small', 200, { 'Content-Length': '5' }));
  app.get('/log/large', (c) => {
    c.get('claimBytes')?.(largeBytes);
    return c.body(new Uint8Array(largeBytes), 200, { 'Content-Length': String(largeBytes) });
  });
  app.get('/log/held', async (c) => {
    held += 1;
    await released;
    return c.text('held');
  });
  const server = createHttpServer(app);
  const port = await listening(server);
  closing.push(() => {
    letGo();
    server.close();
    server.closeAllConnections();
  });
  const url = `http://127.0.0.1:${port}/log`;
  const status = async (path = 'small') => {
    const answer = await fetch(`${url}/${path}`);
    await answer.arrayBuffer();
    return answer.status;
  };
  const stall = async (path: string) => {
    const socket = connect(port, '127.0.0.1');
    closing.push(() => socket.destroy());
    socket.on('error', () => {});
    const heldBefore = held;
    socket.write(`GET /log/${path} HTTP/1.1\r\nHost: log\r\n\r\n`);
    if (path === 'held') await until('the request is under way', () => held > heldBefore);
    else await new Promise((resolve) => socket.once('readable', resolve));
    return socket;
  };
  return { port, status, stall, letGo, held: () => held };
}

function listening(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
}

describe('a log that is open to everybody', () => {
  test('tells those who take up too much to come back, and takes them again when they have let go', async () => {
    const limited: Partial<AnswerBounds>[] = [{ answers: 2 }, { answersPerAddress: 2 }, { bytes: 2 * largeBytes }];
    for (const bounds of limited) {
      const { status, stall } = await serve(bounds);
      const stalled = [await stall('large'), await stall('large')];
      assert.equal(await status('large'), 429, JSON.stringify(bounds));
      stalled[0]?.destroy();
      await until('somebody else is served', async () => (await status('large')) === 200);
    }
  });

  test('says when to come back, and lets no cache keep that', async () => {
    const { port } = await serve({ bytes: 10 });
    const { status, headers } = await fetch(`http://127.0.0.1:${port}/log/large`);
    assert.equal(status, 429);
    assert.equal(headers.get('Retry-After'), '1');
    assert.equal(headers.get('Cache-Control'), 'no-store');
  });

  test('cuts off whoever does not take his answer', async () => {
    const { status, stall } = await serve({ answersPerAddress: 1, timeoutMs: 100 });
    await stall('large');
    await until('the place is free again', async () => (await status()) === 200);
  });

  test('counts what is being made for somebody who has hung up, until it is made', async () => {
    const { status, stall, letGo } = await serve({ answers: 1 });
    const socket = await stall('held');
    socket.destroy();
    await until('the server has seen it', async () => socket.closed);
    assert.equal(await status(), 429);
    assert.equal(await status(), 429);
    letGo();
    await until('the place is free again', async () => (await status()) === 200);
  });
});

describe('work that is done together', () => {
  test('is done once for all who ask while it is done, and never begun before they asked', async () => {
    const done: (() => void)[] = [];
    const ask = together(() => {
      const run = done.length;
      return new Promise<number>((resolve) => {
        done.push(() => resolve(run));
      });
    });
    const first = ask();
    const crowd = Array.from({ length: 50 }, ask);
    assert.equal(done.length, 1);
    done[0]?.();
    assert.equal(await first, 0);
    await until('the second run has begun', () => done.length === 2);
    const late = ask();
    done[1]?.();
    assert.deepEqual(new Set(await Promise.all(crowd)), new Set([1]));
    await until('the third run has begun', () => done.length === 3);
    done[2]?.();
    assert.equal(await late, 2);
  });

  test('that fails, fails for those who shared it and for nobody else', async () => {
    let fails = true;
    const ask = together(async () => {
      if (fails) throw new Error('no');
      return 'yes';
    });
    const [first, second] = [ask(), ask()];
    await assert.rejects(first, /no/);
    await assert.rejects(second, /no/);
    fails = false;
    assert.equal(await ask(), 'yes');
  });
});
