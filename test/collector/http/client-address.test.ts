import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { clientAddresses, countedAddress, isNetwork } from '../../../collector/http/client-address.ts';

const addressOf = clientAddresses(['10.0.0.0/8', '192.0.2.7', 'fd00::/8']);

describe('the address of a client', () => {
  test('is that of the socket, whatever an untrusted peer says', () => {
    fc.assert(
      fc.property(fc.string(), (forwarded) => {
        assert.equal(addressOf('203.0.113.9', forwarded), '203.0.113.9');
        assert.equal(addressOf('203.0.113.9', `10.0.0.1, ${forwarded}`), '203.0.113.9');
      }),
    );
    assert.equal(clientAddresses([])('127.0.0.1', '198.51.100.1'), '127.0.0.1');
  });

  test('is the right-most that is not trusted, of what trusted proxies say', () => {
    const cases = [
      ['10.0.0.1', undefined, '10.0.0.1'],
      ['10.0.0.1', '198.51.100.1', '198.51.100.1'],
      ['::ffff:10.0.0.1', '198.51.100.1', '198.51.100.1'],
      ['10.0.0.1', '1.1.1.1, 198.51.100.1', '198.51.100.1'],
      ['10.0.0.1', '1.1.1.1, 198.51.100.1, 10.2.3.4', '198.51.100.1'],
      ['10.0.0.1', '1.1.1.1, 198.51.100.1, 192.0.2.8', '192.0.2.8'],
      ['10.0.0.1', '10.9.9.9,10.8.8.8', '10.9.9.9'],
      ['fd00::1', '2001:DB8::5', '2001:db8::5'],
      ['10.0.0.1', '[2001:db8::5]:443', '2001:db8::5'],
      ['10.0.0.1', '198.51.100.1:8080', '198.51.100.1'],
    ] as const;
    for (const [peer, forwarded, client] of cases) assert.equal(addressOf(peer, forwarded), client, forwarded);
  });

  test('goes back no further than to what is no address', () => {
    for (const odd of ['unknown', '_hidden', '1.2.3.4.5', '', '999.1.1.1', "'; drop table users"]) {
      assert.equal(addressOf('10.0.0.1', `198.51.100.1, ${odd}`), '10.0.0.1', odd);
      assert.equal(addressOf('10.0.0.1', `198.51.100.1, ${odd}, 10.7.7.7`), '10.7.7.7', odd);
    }
  });

  test('without a socket is this process', () => {
    assert.equal(addressOf(undefined, '198.51.100.1'), 'local');
  });
});

test('all addresses of one IPv6 network of 64 bits are counted as one', () => {
  assert.equal(countedAddress('198.51.100.1'), '198.51.100.1');
  assert.equal(countedAddress('2001:db8::1'), countedAddress('2001:db8:0:0:ffff::'));
  assert.equal(countedAddress('2001:db8:0:1::'), '2001:db8:0:1::/64');
  assert.equal(countedAddress('::1'), '0:0:0:0::/64');
  assert.notEqual(countedAddress('2001:db8:0:1::1'), countedAddress('2001:db8:0:2::1'));
  fc.assert(
    fc.property(fc.ipV6(), (address) => {
      assert.match(countedAddress(address), /^([0-9a-f]{1,4}:){3}[0-9a-f]{1,4}::\/64$/);
    }),
  );
});

test('a proxy is named by its address or its network', () => {
  for (const good of ['10.0.0.1', '10.0.0.0/8', '0.0.0.0/0', '::1', 'fd00::/8']) assert.ok(isNetwork(good), good);
  for (const bad of ['', 'localhost', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', 'fd00::/129', '10.0.0.0/-1']) {
    assert.ok(!isNetwork(bad), bad);
  }
});
