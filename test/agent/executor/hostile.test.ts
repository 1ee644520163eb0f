import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import { orderHeader } from '../../../agent/executor/order-header.ts';
import { type Random, randomOf, seedOf } from '../../e2e/random.ts';
import { until } from '../../until.ts';
import { ids, makeOrder, type Reached, type Scene, sealOrder, slowPath, startScene } from './scene.ts';

let scene: Scene;
before(async () => {
  scene = await startScene();
});
after(() => scene.stop());
beforeEach(() => {
  scene.reached.length = 0;
});

const host = 'Host: docker\r\n';
const end = '\r\n';
const ping = `GET /_ping HTTP/1.1\r\n${host}${end}`;
const kill = `POST /containers/${ids.ordered}/kill`;

/** Requests of which nothing may reach the engine, whatever they go on with. `order` holds and permits the kill. */
function attacks(order: string): Readonly<Record<string, (random: Random) => string>> {
  const valid = `${kill} HTTP/1.1\r\n${host}${order}`;
  const load = `POST /images/load HTTP/1.1\r\n${host}${order}Transfer-Encoding: chunked\r\n\r\n`;
  return {
    'another method': (r) =>
      ping.replace('GET', r.pick(['HEAD', 'PUT', 'PATCH', 'OPTIONS', 'TRACE', 'CONNECT', 'get', 'G ET', ''])),
    'another protocol': (r) =>
      ping.replace('HTTP/1.1', r.pick(['HTTP/1.0', 'HTTP/2.0', 'HTTP/1.2', 'http/1.1', 'HTTP/1.1 ', '', 'ICY'])),
    'an absolute address': (r) =>
      ping.replace('/_ping', `${r.pick(['http://docker', 'unix:', 'HTTP://x:1', '*', 'x'])}/_ping`),
    'a path that climbs': (r) =>
      ping.replace(
        '/_ping',
        r.pick(['/images/../_ping', '/./_ping', '/_ping/..', '/images/x/../json', '//_ping', '/_ping/.']),
      ),
    'a path in percent signs': (r) =>
      ping.replace(
        '/_ping',
        r.pick(['/%5fping', '/%2e%2e/_ping', '/_ping%00', '/images/a%2fb/json', '/_ping%20', '/_ping%0d%0a']),
      ),
    'a path in parts': (r) =>
      ping.replace('/_ping', r.pick(['/_ping#a', '/_ping;a', '/_ping??', '/_ping?a', '/\\_ping', '/_ping\\'])),
    'bytes that are no text': (r) =>
      ping.replace('_ping', `_pi${String.fromCharCode(r.pick([0, 1, 9, 11, 12, 127, 128, 160, 255]))}ng`),
    'lines that end otherwise': (r) => ping.replaceAll('\r\n', r.pick(['\n', '\r', '\n\r', '\r\r\n', '\u0085'])),
    'a line that ends otherwise': (r) =>
      ping.replace(host, r.pick([`${host.trim()}\nX: y\r\n`, `${host.trim()}\rX: y\r\n`, `A: b\n${host}`])),
    'a line before the first': (r) => r.pick(['\r\n', '\n', ' ', '\r\n\r\n', '\0', `PRI * HTTP/2.0\r\n\r\n`]) + ping,
    'a folded header': (r) => ping.replace(host, `${host}${r.pick([' ', '\t', '  '])}x\r\n`),
    'a header that is none': (r) =>
      ping.replace(
        host,
        `${host}${r.pick(['x', ':', ' : x', 'a b: c', 'a : b', '"a": b', 'a:\tb', 'a: \0', '[]: x'])}\r\n`,
      ),
    'a header twice': (r) =>
      ping.replace(host, host + r.pick([host, host.toUpperCase(), 'Accept: a\r\naccept: b\r\n'])),
    'a header of its own': (r) =>
      ping.replace(
        host,
        `${host}${r.pick(['Expect: 100-continue', 'TE: trailers', 'Trailer: a', 'X-Registry-Auth: a', 'Forwarded: a', 'X-HTTP-Method-Override: POST', 'Proxy-Connection: close', 'Keep-Alive: 1'])}\r\n`,
      ),
    'no host': () => ping.replace(host, ''),
    'another host': (r) => ping.replace('docker', r.pick(['a b', 'a/b', 'a@b', '', 'ä', ','])),
    'an upgrade': (r) =>
      ping.replace(
        host,
        `${host}${r.pick(['Connection: Upgrade\r\nUpgrade: tcp', 'Connection: upgrade', 'Upgrade: h2c', 'Connection: close, upgrade', 'HTTP2-Settings: a'])}\r\n`,
      ),
    'a header taken away': (r) =>
      ping.replace(
        host,
        `${host}Connection: ${r.pick(['close, host', 'host', 'x-sigilwatch-order', 'keep-alive, te'])}\r\n`,
      ),
    'a second request': (r) => ping + r.pick([ping, valid + end, 'x', '\r\n', '\0']),
    'a body of a read': (r) =>
      ping.replace(
        host,
        `${host}${r.pick(['Content-Length: 1', 'Content-Length: 5', 'Transfer-Encoding: chunked'])}\r\n`,
      ) + r.pick(['a', '0\r\n\r\n', ping]),
    'a length that is none': (r) =>
      `${valid}Content-Length: ${r.pick(['-1', '+1', '01', '1 1', '0x1', '1,1', '1e1', '', '99999999999999', '1\r\nContent-Length: 2', '4097'])}\r\n\r\naaaa`,
    'two lengths': (r) =>
      `${valid}${r.pick(['Content-Length: 4\r\nTransfer-Encoding: chunked', 'Transfer-Encoding: chunked\r\nContent-Length: 4'])}\r\n\r\n0\r\n\r\n`,
    'a coding that is none': (r) =>
      `${valid}Transfer-Encoding: ${r.pick(['gzip', 'identity', 'chunked, chunked', 'gzip, chunked', ' chunked;a', 'xchunked', 'CHUNKED', 'chunked,'])}\r\n\r\n0\r\n\r\n`,
    'a chunked body where none belongs': (r) =>
      `${valid}Transfer-Encoding: chunked\r\n\r\n${r.pick(['0\r\n\r\n', '1\r\na\r\n0\r\n\r\n'])}`,
    'a change followed by another': (r) => `${valid}\r\n${r.pick([`${kill} HTTP/1.1\r\n${host}\r\n`, ping, 'a'])}`,
    'a body followed by another': (r) => `${valid}Content-Length: 2\r\n\r\n{}${r.pick([`${valid}\r\n`, ping, 'a'])}`,
    'an order twice': () => `${valid}${order}\r\n`,
    'an order with another name': (r) =>
      `${kill} HTTP/1.1\r\n${host}${order.replace('sigilwatch', r.pick(['sigilwatch ', 'sigil_watch', 'Sigilwatch\0']))}\r\n`,
    'an order cut off': (r) => `${kill} HTTP/1.1\r\n${host}${order.slice(0, -r.int(6, order.length - 30))}\r\n\r\n`,
    'no order': (r) =>
      `${r.pick([kill, `DELETE /containers/${ids.ordered}`, 'POST /containers/create?name=web', 'POST /images/load'])} HTTP/1.1\r\n${host}\r\n`,
    'an order for another': (r) =>
      valid.replace(
        ids.ordered,
        r.pick([
          ids.other,
          'web',
          ids.ordered.slice(1),
          `${ids.ordered}a`,
          ids.ordered.toUpperCase(),
          `${ids.other}/../${ids.ordered}`,
        ]),
      ) + end,
    'an order for something else': (r) =>
      valid.replace(
        '/kill',
        r.pick([
          '/start',
          '/exec',
          '/attach?stdin=1',
          '/archive?path=/',
          '/update',
          '/kill/',
          '/kill?signal=HUP',
          '/kill?signal=9&signal=9',
          '/kill?signal=KILL&x=1',
          '/resize',
        ]),
      ) + end,
    'an image that an order does not permit': (r) => load + r.pick(['0\r\n\r\n', '5\r\nabcde\r\n0\r\n\r\n']),
    'a head without end': (r) => `${ping.slice(0, -2)}Accept: ${'a'.repeat(r.int(110_000, 200_000))}`,
    'headers without end': (r) => `${ping.slice(0, -2)}${'Accept: a\r\n'.repeat(r.int(20, 200))}\r\n`,
    'a path without end': (r) => ping.replace('/_ping', `/_ping${'a'.repeat(r.int(5_000, 50_000))}`),
    'nothing but noise': (r) =>
      `${Array.from({ length: r.int(1, 300) }, () => String.fromCharCode(r.int(0, 255))).join('')}\r\n\r\n`,
  };
}

const runs = 4_000;
const mutations = 4_000;
const atOnce = 16;
/** Whoever sends half a request is not waited for; we only have to be sure that nothing came of it. */
const patienceMs = 100;

/** What a connection came to: the first line of an answer, or nothing. */
function send(bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const client = net.connect(scene.socketPath);
    let text = '';
    client.setTimeout(patienceMs, () => client.destroy());
    client.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    client.on('error', () => {});
    client.once('close', () => resolve(text.split('\r\n', 1)[0] ?? ''));
    client.write(bytes);
  });
}

async function sendAll(count: number, make: (run: number) => Buffer, judge: (run: number, line: string) => void) {
  let next = 0;
  const work = async (): Promise<void> => {
    for (let run = next++; run < count; run = next++) judge(run, await send(make(run)));
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

function orderLine(): string {
  const [[name, value] = assert.fail()] = Object.entries(orderHeader(sealOrder(makeOrder(), scene.keys)));
  return `${name}: ${value}\r\n`;
}

describe('over a raw socket', () => {
  test('a plain request is answered, so that what follows is about what differs from it', async () => {
    assert.match(await scene.raw(ping), /^HTTP\/1\.1 200 /);
    assert.match(await scene.raw(`${kill} HTTP/1.1\r\n${host}${orderLine()}\r\n`), /^HTTP\/1\.1 200 /);
    assert.equal(scene.reached.length, 2);
  });

  test(`nothing of ${runs} hostile requests reaches the engine`, async () => {
    const seed = seedOf('hostile requests');
    const kinds = Object.entries(attacks(orderLine()));
    const random = randomOf(seed, 'hostile');
    const sent = new Map<number, string>();
    await sendAll(
      runs,
      (run) => {
        // Each kind in turn, so that none is left to chance.
        const [name, make] = kinds[run % kinds.length] ?? assert.fail();
        sent.set(run, name);
        return Buffer.from(make(random), 'latin1');
      },
      (run, line) => {
        assert.ok(line === '' || line === 'HTTP/1.1 403 Forbidden', `${sent.get(run)}: ${line} (seed ${seed})`);
      },
    );
    assert.deepEqual(scene.reached, [], `seed ${seed}`);
  });

  test(`of ${mutations} requests with broken bytes only such reach the engine as are permitted`, async () => {
    const seed = seedOf('broken requests');
    const random = randomOf(seed, 'broken');
    const valid = [
      ping,
      `${kill} HTTP/1.1\r\n${host}${orderLine()}\r\n`,
      `GET /v1.41/containers/json?all=true HTTP/1.1\r\n${host}\r\n`,
    ];
    await sendAll(
      mutations,
      () => mutated(Buffer.from(random.pick(valid), 'latin1'), random),
      () => {},
    );
    const strangers = scene.reached.filter((one) => !isPermitted(one));
    assert.deepEqual(strangers, [], `seed ${seed}`);
  });

  test('who sends more while the answer is on its way is cut off, and the engine with it', async () => {
    const client = net.connect(scene.socketPath);
    client.on('error', () => {});
    const closed = once(client, 'close');
    client.resume().write(`GET ${slowPath} HTTP/1.1\r\n${host}\r\n`);
    await until('the request is there', () => scene.reached.length === 1);
    client.write(ping);
    await closed;
    await until('the engine was let go', () => scene.waiting() === 0);
    assert.deepEqual(
      scene.reached.map(({ url }) => url),
      [slowPath],
    );
  });
});

/** Written apart from the program's own rules. */
function isPermitted({ method, url, headers, body }: Reached): boolean {
  const isRead =
    method === 'GET' && /^(\/v1\.\d\d)?\/(_ping|version|events|containers\/json(\?all=(true|1|0|false))?)$/.test(url);
  const isKill = method === 'POST' && url === `/containers/${ids.ordered}/kill`;
  return (isRead || isKill) && body.length === 0 && headers.host === 'engine' && headers.upgrade === undefined;
}

function mutated(bytes: Buffer, random: Random): Buffer {
  let out = bytes;
  for (let change = random.int(1, 3); change > 0; change--) {
    const at = random.int(0, out.length - 1);
    const piece = random.pick([
      Buffer.from([random.int(0, 255)]),
      Buffer.from(
        random.pick([
          '\r\n',
          '\n',
          '\r',
          ' ',
          '\t',
          '\0',
          '/',
          '..',
          '%',
          '?',
          '&',
          ':',
          '/../',
          '\r\n\r\n',
          'Content-Length: 3\r\n',
        ]),
      ),
      bytes.subarray(at, at + random.int(1, 40)),
    ]);
    // In the place of some bytes, or between them.
    out = Buffer.concat([out.subarray(0, at), piece, out.subarray(at + random.pick([0, 0, 1, piece.length]))]);
  }
  return out;
}
