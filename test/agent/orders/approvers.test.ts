import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { sshApprovals } from '../../../agent/orders/approvers.ts';
import { approvalText } from '../../../common/order.ts';
import { revocationForms, type SshSigners, sshSigners, withoutSshKeygen } from '../../ssh-keys.ts';

const skip = withoutSshKeygen();
const order = '5'.repeat(64);
let signers: SshSigners;

before(async () => {
  if (skip === false) signers = await sshSigners({ alice: 'alice', bob: 'bob,robert', carol: 'carol' });
});
after(async () => {
  await signers?.remove();
});

const approvals = (...owners: readonly string[]) =>
  owners.map((approver) => ({ approver, signature: signers.sign(approver, approvalText(order)) }));

describe('approvals on a node', { skip }, () => {
  test("count once for each key, by the node's own file of signers", async () => {
    const robert = { approver: 'robert', signature: signers.sign('bob', approvalText(order)) };
    const told = [...approvals('alice', 'alice', 'bob'), robert, { approver: 'mallory', signature: 'none' }];
    assert.deepEqual(await sshApprovals(signers.allowedSigners)(order, told), ['alice', 'bob']);
    assert.deepEqual(await sshApprovals(signers.allowedSigners)('6'.repeat(64), told), []);
    assert.deepEqual(await sshApprovals(undefined)(order, told), []);
  });

  test('of somebody whose key was revoked do not count, whichever form the list has', async () => {
    for (const form of revocationForms) {
      const revoked = signers.revoke(['alice', 'carol'], form);
      const counted = sshApprovals(signers.allowedSigners, revoked);
      assert.deepEqual(await counted(order, approvals('alice', 'bob', 'carol')), ['bob'], form);
    }
  });

  test('of nobody count while the list of revoked keys that is named cannot be read', async () => {
    assert.deepEqual(await sshApprovals(signers.allowedSigners, '/nowhere/revoked')(order, approvals('alice')), []);
  });
});
