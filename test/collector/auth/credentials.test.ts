import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { argon2Hasher } from '../../../collector/auth/argon2.ts';
import { addressGroup } from '../../../collector/auth/attempts.ts';
import { readPassword, readUserName, requirePassword } from '../../../collector/auth/credentials.ts';
import {
  formatRefreshToken,
  newRefreshToken,
  parseRefreshToken,
  refreshTokenHashes,
} from '../../../collector/auth/refresh-token.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';

describe('names', () => {
  test('are the same in capitals', () => {
    assert.equal(readUserName('Ada.Lovelace@Example.org'), 'ada.lovelace@example.org');
    assert.equal(readUserName('a'), 'a');
  });

  test('what could be mistaken for another, or for markup, is none', () => {
    const bad = ['', '.ada', 'ada.', 'a b', 'ada\n', '<b>', 'аda', 'ada\u200b', 'a'.repeat(65), 'İ', "a'--b"];
    for (const text of bad) assert.equal(readUserName(text), undefined, JSON.stringify(text));
  });
});

describe('passwords', () => {
  test('have 12 to 256 characters, and no rule says which', () => {
    assert.equal(readPassword('a'.repeat(11)), undefined);
    assert.equal(readPassword('a'.repeat(12)), 'a'.repeat(12));
    assert.equal(readPassword('😀'.repeat(256)), '😀'.repeat(256));
    assert.equal(readPassword('😀'.repeat(257)), undefined);
    assert.equal(readPassword('x'.repeat(10_000_000)), undefined);
    assert.equal(readPassword(' '.repeat(12)), ' '.repeat(12));
  });

  test('are the same however their accents are put together', () => {
    assert.equal(readPassword('pa\u0308ssword-1234'), readPassword('p\u00e4ssword-1234'));
  });

  test('that are refused are not repeated', () => {
    assert.throws(
      () => requirePassword('sesame'),
      (error) => error instanceof AppError && error.code === 'validation.body' && !error.message.includes('sesame'),
    );
  });
});

describe('hashes of passwords', () => {
  test('are argon2id, with the cost that the limits say, salted, and fit theirs only', async () => {
    const hasher = argon2Hasher();
    const [one, two] = await Promise.all([hasher.hash('correct horse'), hasher.hash('correct horse')]);
    assert.match(one, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    assert.notEqual(one, two);
    assert.equal(await hasher.verify(one, 'correct horse'), true);
    assert.equal(await hasher.verify(one, 'correct horsf'), false);
  });

  test('where there is none, one is looked at that nothing fits', async () => {
    const hasher = argon2Hasher();
    assert.equal(await hasher.verify(undefined, 'correct horse'), false);
    assert.equal(await hasher.verify(undefined, ''), false);
  });

  test('a flood is sent away before it takes memory, and who waits gets an answer', async () => {
    const hasher = argon2Hasher();
    const flood = Array.from({ length: limits.maxHashings + limits.maxHashingsWaiting + 50 }, () =>
      hasher.verify(undefined, 'x').catch((thrown: unknown) => thrown),
    );
    const answers = await Promise.all(flood);
    const busy = answers.filter(
      (answer) => answer instanceof AppError && answer.code === 'state.busy' && answer.retryable,
    );
    assert.equal(answers.filter((answer) => answer === false).length, limits.maxHashings + limits.maxHashingsWaiting);
    assert.equal(busy.length, 50);
  });
});

describe('refresh tokens', () => {
  test('come back from their text; the half that stays names the session, and only hashes of both are for keeping', () => {
    const first = newRefreshToken(randomBytes);
    const second = newRefreshToken(randomBytes, first.family);
    const text = formatRefreshToken(first);
    assert.match(text, /^swr_[A-Za-z0-9_-]{86}$/);
    assert.deepEqual(parseRefreshToken(text), first);
    const hashes = [refreshTokenHashes(first), refreshTokenHashes(second)];
    assert.deepEqual(hashes[0]?.familyHash, hashes[1]?.familyHash);
    assert.notDeepEqual(hashes[0]?.secretHash, hashes[1]?.secretHash);
    assert.equal(JSON.stringify(hashes).includes(first.secret.toString('hex')), false);
  });

  test('anything else is none', () => {
    const text = formatRefreshToken(newRefreshToken(randomBytes));
    const others = [
      '',
      text.slice(0, -1),
      `${text}A`,
      `${text}=`,
      ` ${text}`,
      `${text}\n`,
      text.replace('swr_', 'swk_'),
    ];
    for (const other of others) assert.equal(parseRefreshToken(other), undefined, other);
    // Of the last character's six bits four are thrown away; set, they would be other spellings of the same bytes.
    const spelt = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].filter(
      (last) => parseRefreshToken(text.slice(0, -1) + last) !== undefined,
    );
    assert.equal(spelt.length, 4);
  });
});

describe('addresses', () => {
  test('of IPv6 count by the network that one subscriber has, of IPv4 one by one, however they are written', () => {
    assert.equal(addressGroup('203.0.113.7'), '203.0.113.7');
    assert.equal(addressGroup('::ffff:203.0.113.7'), '203.0.113.7');
    const group = addressGroup('2001:db8:1:2::1');
    assert.equal(group, '2001:db8:1:2::/64');
    for (const same of ['2001:DB8:1:2:ffff:1:2:3', '2001:0db8:0001:0002::', '2001:db8:1:2:3::']) {
      assert.equal(addressGroup(same), group);
    }
    assert.notEqual(addressGroup('2001:db8:1:3::1'), group);
    assert.equal(addressGroup('fe80::1%eth0'), addressGroup('fe80::2'));
    assert.equal(addressGroup('::1'), '0:0:0:0::/64');
    assert.equal(addressGroup('no address'), 'no address');
  });
});
