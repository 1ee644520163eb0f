import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { countedApprovals } from '../../../collector/enforcement/counted-approvals.ts';
import type { OrderEventRow } from '../../../collector/enforcement/ports.ts';
import { sshSignatures } from '../../../collector/enforcement/ssh-keygen.ts';
import { signingKeyOf } from '../../../collector/enforcement/ssh-signature.ts';
import { AppError } from '../../../common/errors.ts';
import { approvalText } from '../../../common/order.ts';
import { revocationForms, type SshSigners, sshSigners, withoutSshKeygen } from '../../ssh-keys.ts';

const skip = withoutSshKeygen();
const order = '5'.repeat(64);
const text = approvalText(order);
let signers: SshSigners;

before(async () => {
  if (skip === false) signers = await sshSigners({ alice: 'alice', bob: 'bob,robert' });
});
after(async () => {
  await signers?.remove();
});

function approved(approver: string, signature: string, index: number): OrderEventRow {
  const body = { order, approval: { approver, signature } };
  return { index, node: 'collector', atMs: index, said: { kind: 'order.approved', body } };
}

describe('signatures of approvers', { skip }, () => {
  test('hold for the approver, the text and the namespace they were made for, and for nothing else', async () => {
    const check = sshSignatures(signers);
    const signature = signers.sign('alice', text);
    const holds = async (approver: string, armored: string, over = text) =>
      (await check({ approver, signature: armored }, over)).holds;
    assert.equal(await holds('alice', signature), true);
    assert.equal(await holds('bob', signature), false);
    assert.equal(await holds('mallory', signature), false);
    assert.equal(await holds('-O', signature), false);
    assert.equal(await holds('alice', signature, approvalText('6'.repeat(64))), false);
    assert.equal(await holds('alice', signers.sign('alice', text, 'git')), false);
    assert.equal(await holds('alice', signature.replace('A', 'B')), false);
    for (const garbage of [
      '',
      'no signature',
      '\0',
      '-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n',
    ]) {
      assert.equal(await holds('alice', garbage), false);
    }
  });

  test('name their key, as ssh-keygen tells it', () => {
    const told = execFileSync('ssh-keygen', ['-l', '-f', signers.keyFile('alice')], { encoding: 'utf8' });
    assert.equal(signingKeyOf(signers.sign('alice', text)), told.split(' ')[1]);
  });

  test('count once for each approver and once for each key', () => {
    const [alice, bob] = [signers.sign('alice', text), signers.sign('bob', text)];
    const events = [
      approved('alice', alice, 1),
      approved('alice', bob, 2),
      approved('bob', bob, 3),
      approved('robert', bob, 4),
    ];
    assert.deepEqual(
      countedApprovals({ events }).map(({ approver }) => approver),
      ['alice', 'bob'],
    );
  });

  test('of nobody hold where there is no file of signers', async () => {
    const signature = signers.sign('alice', text);
    await assert.rejects(
      sshSignatures({})({ approver: 'alice', signature }, text),
      (thrown) => thrown instanceof AppError && thrown.code === 'state.conflict',
    );
    const nowhere = { allowedSigners: '/nowhere/allowed' };
    assert.equal((await sshSignatures(nowhere)({ approver: 'alice', signature }, text)).holds, false);
  });

  test('by a key that was revoked hold no more, whichever form the list has; without the list that is named nobody does', async () => {
    const signed = ['alice', 'bob'].map((approver) => ({ approver, signature: signers.sign(approver, text) }));
    const holding = async (revokedSigners: string) => {
      const check = sshSignatures({ ...signers, revokedSigners });
      const verdicts = await Promise.all(signed.map((approval) => check(approval, text)));
      return signed.flatMap(({ approver }, i) => (verdicts[i]?.holds ? [approver] : []));
    };
    for (const form of revocationForms) assert.deepEqual(await holding(signers.revoke(['alice'], form)), ['bob']);
    assert.deepEqual(await holding(signers.revoke([], 'krl')), ['alice', 'bob']);
    assert.deepEqual(await holding('/nowhere/revoked'), []);
  });
});

test('what is no SSH signature names no key', () => {
  const armored = (bytes: string) =>
    `-----BEGIN SSH SIGNATURE-----\n${Buffer.from(bytes, 'latin1').toString('base64')}\n-----END SSH SIGNATURE-----\n`;
  for (const bytes of [
    '',
    'SSHSIG',
    'SSHSIG\0\0\0\x01\0\0\0\0',
    'SSHSIG\0\0\0\x01\xff\xff\xff\xff',
    'OTHERS\0\0\0\x01\0\0\0\x01x',
  ]) {
    assert.equal(signingKeyOf(armored(bytes)), undefined);
  }
  assert.equal(signingKeyOf('SSHSIG'), undefined);
});
