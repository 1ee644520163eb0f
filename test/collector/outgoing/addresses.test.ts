import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { createChannelHttp } from '../../../collector/alerts/http.ts';
import { addressGuard, isNetwork, isPublic } from '../../../collector/outgoing/addresses.ts';
import type { Resolve } from '../../../collector/outgoing/guarded-connector.ts';

describe('addresses of the public internet', () => {
  const others = [
    ...['127.0.0.1', '127.255.255.254', '0.0.0.0', '10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.1.1'],
    ...['169.254.169.254', '100.64.0.1', '192.0.0.8', '192.0.2.1', '198.18.0.1', '224.0.0.1', '255.255.255.255'],
    ...['::', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1', '::ffff:10.0.0.1', '::7f00:1', '64:ff9b::7f00:1'],
    ...[
      'fe80::1',
      'fe80::1%eth0',
      'fc00::1',
      'fd12::1',
      'ff02::1',
      '2001::1',
      '2001:db8::1',
      '2002:7f00:1::',
      '100::1',
    ],
    ...['', 'localhost', 'example.org', '1', '0x7f000001'],
  ];
  for (const address of others) {
    test(`${JSON.stringify(address)} is none`, () => assert.equal(isPublic(address), false));
  }
  for (const address of ['1.1.1.1', '172.32.0.1', '8.8.8.8', '::ffff:8.8.8.8', '2606:4700::1111', '[2a00:1450::1]']) {
    test(`${address} is one`, () => assert.equal(isPublic(address), true));
  }

  test('networks that are allowed are reached beside them, however an address is written', () => {
    const { isAllowed, mayReach } = addressGuard(['10.1.0.0/16', 'fd00::/8']);
    for (const address of ['10.1.2.3', '::ffff:10.1.2.3', 'fd12::1']) {
      assert.equal(isAllowed(address), true, address);
      assert.equal(mayReach(address), true, address);
    }
    assert.equal(mayReach('10.2.0.1'), false);
    assert.equal(isAllowed('8.8.8.8'), false);
    assert.equal(mayReach('8.8.8.8'), true);
  });

  test('a network is an address with the length of its prefix', () => {
    for (const text of ['10.0.0.0/8', '::/0', 'fd00::/8', '1.2.3.4/32']) assert.equal(isNetwork(text), true, text);
    for (const text of ['10.0.0.0', '10.0.0.0/33', 'fd00::/129', 'host/8', '/8', '10.0.0/8']) {
      assert.equal(isNetwork(text), false, text);
    }
  });
});

describe('a request to somewhere else than the public internet', () => {
  const server = createServer((request, response) => {
    reached.push(request.url ?? '');
    if (request.url === '/redirect') response.writeHead(307, { location: 'http://127.0.0.1:1/private' }).end();
    else response.writeHead(200).end('taken');
  });
  const reached: string[] = [];
  let port = 0;
  before(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    port = address !== null && typeof address === 'object' ? address.port : 0;
  });
  after(() => server.close());

  const post = async (url: string, { allowed = [], resolve }: { allowed?: string[]; resolve?: Resolve } = {}) => {
    const http = createChannelHttp({ name: 'test', guard: addressGuard(allowed), ...(resolve && { resolve }) });
    try {
      return await http.post({ url, body: '{}' });
    } finally {
      await http.close();
    }
  };

  for (const host of [
    '127.0.0.1',
    '2130706433',
    '0x7f000001',
    '0177.0.0.1',
    '127.1',
    '[::1]',
    '[::ffff:127.0.0.1]',
    '0',
    'localhost',
  ]) {
    test(`never leaves for ${host}, with TLS or without`, async () => {
      for (const scheme of ['http', 'https']) {
        await assert.rejects(post(`${scheme}://${host}:${port}/`), { code: 'channel.refused' }, scheme);
      }
      assert.deepEqual(reached, []);
    });
  }

  test('never leaves for the address under which clouds give out credentials', async () => {
    for (const host of ['169.254.169.254', '[::ffff:a9fe:a9fe]', '[fd00:ec2::254]']) {
      await assert.rejects(post(`https://${host}/latest/meta-data`), { code: 'channel.refused' }, host);
    }
  });

  test('never leaves for a name that resolves to such an address, alone or beside a public one', async () => {
    const to =
      (...addresses: string[]): Resolve =>
      (_host, _options, callback) => {
        callback(
          null,
          addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
        );
      };
    for (const resolve of [to('127.0.0.1'), to('::1'), to('::ffff:10.0.0.1'), to('8.8.8.8', '192.168.0.1')]) {
      await assert.rejects(post(`https://rebound.example:${port}/`, { resolve }), { code: 'channel.refused' });
    }
    assert.deepEqual(reached, []);
  });

  test('a name that resolves to something else the second time is connected to where it led when it was looked at', async () => {
    let asked = 0;
    const resolve: Resolve = (_host, _options, callback) => {
      asked += 1;
      callback(null, [{ address: asked === 1 ? '127.0.0.1' : '169.254.169.254', family: 4 }]);
    };
    const answer = await post(`http://rebound.example:${port}/once`, { allowed: ['127.0.0.1/32'], resolve });
    assert.equal(answer.status, 'HTTP 200');
    assert.equal(asked, 1);
    assert.deepEqual(reached.splice(0), ['/once']);
  });

  test('is made where the settings allow it, and follows no redirect from there', async () => {
    const allowed = ['127.0.0.0/8'];
    assert.deepEqual(await post(`http://127.0.0.1:${port}/ok`, { allowed }), { status: 'HTTP 200', text: 'taken' });
    await assert.rejects(post(`http://127.0.0.1:${port}/redirect`, { allowed }), { code: 'channel.refused' });
    assert.deepEqual(reached.splice(0), ['/ok', '/redirect']);
  });
});
