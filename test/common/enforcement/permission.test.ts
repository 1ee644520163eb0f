import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Drift } from '../../../common/drift.ts';
import { type Circumstances, type RefusalCode, refusalOf } from '../../../common/enforcement/permission.ts';
import { limits } from '../../../common/limits.ts';
import { driftDigest, type Order, orderActions, orderHash, orderOrigins } from '../../../common/order.ts';
import { circumstances, commit, nowMs, orderFor, policyOf, rogue, targetId } from './ground.ts';

const iso = (ms: number) => new Date(ms).toISOString();
const adopted = (said: string) => ({ adopted: { commit, policy: policyOf(said) } });
const standing = (sinceMs: number) => new Map([[rogue.id, { drift: rogue, sinceMs }]]);

test('an order that answers a standing drift as the manifest says is obeyed', () => {
  assert.equal(refusalOf(orderFor(rogue), circumstances()), undefined);
});

const refused: readonly [promise: string, code: RefusalCode, said: Partial<Order>, at?: Partial<Circumstances>][] = [
  ['for another node', 'misdirected', { node: 'node2' }],
  ['in the name of the node itself', 'misdirected', { origin: 'local' }],
  ['that has expired', 'expired', { expiresAt: iso(nowMs) }],
  ['that is valid for years', 'expired', { expiresAt: iso(nowMs + limits.maxOrderLifetimeMs) }],
  ['from the future', 'expired', { issuedAt: iso(nowMs + 120_000), expiresAt: iso(nowMs + 180_000) }],
  ['while the ledger stands contradicted', 'untrusted', {}, { trusted: false }],
  ['without a manifest', 'commit', {}, { adopted: undefined }],
  ['decided by another manifest', 'commit', { commit: 'd'.repeat(40) }],
  ['in audit mode', 'mode', {}, { adopted: { commit, policy: { ...policyOf(), mode: 'audit' } } }],
  ['for a drift whose rule asks for something else', 'rule', { action: 'quarantine' }],
  ['that answers no drift and nobody stands for', 'rule', { drift: null }],
  ['by an operator, unsigned', 'approvals', { origin: 'operator', drift: null }],
  ['for a drift that stands no more', 'gone', {}, { drifts: new Map() }],
  ['for a container whose name another one has now', 'gone', {}, { target: { id: 'b'.repeat(64), name: 'rogue' } }],
  ['for a container that was renamed', 'gone', {}, { target: { id: targetId, name: 'api' } }],
  ['for a container that is gone', 'gone', {}, { target: undefined }],
  ['that names the drift of one container and the id of another', 'gone', { container: 'api' }],
  ['that names no container', 'gone', { containerId: null }, { target: undefined }],
];

describe('refused is an order', () => {
  for (const [promise, code, said, at] of refused) {
    test(promise, () => {
      assert.equal(refusalOf(orderFor(rogue, said), circumstances(at))?.code, code);
    });
  }

  test('not for a container that was to be made anew and is gone altogether by now', () => {
    const missing: Drift = { ...rogue, id: 'MISSING_CONTAINER/web', kind: 'MISSING_CONTAINER', container: 'web' };
    const restore = orderFor(missing, { action: 'restore' });
    const drifts = new Map([[missing.id, { drift: { ...missing, containerId: null }, sinceMs: nowMs - 10_000 }]]);
    const codeOf = (target: Circumstances['target'], said: Partial<Order> = {}) =>
      refusalOf({ ...restore, ...said }, circumstances({ drifts, target, approvers: ['ada'] }))?.code;
    assert.equal(codeOf(undefined), undefined);
    assert.equal(codeOf({ id: targetId, name: 'web' }), undefined);
    assert.equal(codeOf({ id: 'b'.repeat(64), name: 'web' }), 'gone', 'another one has the name');
    assert.equal(
      codeOf(undefined, { drift: null, origin: 'operator' }),
      'gone',
      'a person meant the one that was there',
    );
  });

  test('before the grace period is over, and not after', () => {
    const policy = policyOf().answers.UNAUTHORIZED_CONTAINER;
    const answers = { ...policyOf().answers, UNAUTHORIZED_CONTAINER: { ...policy, graceMs: 60_000 } };
    const with60s = { adopted: { commit, policy: { ...policyOf(), answers } } };
    const at = (sinceMs: number) => circumstances({ ...with60s, drifts: standing(sinceMs) });
    assert.equal(refusalOf(orderFor(rogue), at(nowMs - 59_999))?.code, 'grace');
    assert.equal(refusalOf(orderFor(rogue), at(nowMs - 60_000)), undefined);
  });

  test('while a maintenance window that allows drift is open', () => {
    const window = (allow: boolean) =>
      adopted(
        `maintenance_windows: [{name: w, day: daily, start_time: "11:00", end_time: "13:00", allow_drift: ${allow}}]\n`,
      );
    assert.equal(refusalOf(orderFor(rogue), circumstances(window(true)))?.code, 'window');
    assert.equal(refusalOf(orderFor(rogue), circumstances(window(false))), undefined);
  });

  test('that few have approved, or the wrong ones, or one of them twice', () => {
    const two = adopted('governance: {approvals: {terminate: 2}, approvers: [ada, grace]}\n');
    const by = (...approvers: string[]) => refusalOf(orderFor(rogue), circumstances({ ...two, approvers }))?.code;
    assert.equal(by(), 'approvals');
    assert.equal(by('ada'), 'approvals');
    assert.equal(by('ada', 'ada'), 'approvals');
    assert.equal(by('ada', 'mallory'), 'approvals');
    assert.equal(by('grace', 'ada'), undefined);
  });

  test('that asks for fewer approvals than the manifest', () => {
    const two = adopted('governance: {approvals: {terminate: 2}}\n');
    assert.equal(refusalOf(orderFor(rogue, { approvals: 0 }), circumstances(two))?.code, 'approvals');
  });

  test('by a rule, about nothing but mounted files: a container that is made anew has the same', () => {
    const files = { field: 'mounted_files./etc/app.conf', desired: `sha256:${'a'.repeat(64)}`, observed: null };
    const about = (differences: Drift['differences']) => {
      const drift: Drift = { ...rogue, id: 'CONFIG_DRIFT/rogue', kind: 'CONFIG_DRIFT', differences };
      const policy = policyOf();
      const answer = { ...policy.answers.CONFIG_DRIFT, action: 'rollback' as const, graceMs: 0 };
      const answers = { ...policy.answers, CONFIG_DRIFT: answer };
      const at = { adopted: { commit, policy: { ...policy, answers, automaticRollback: true } } };
      const drifts = new Map([[drift.id, { drift, sinceMs: 0 }]]);
      return refusalOf(orderFor(drift, { action: 'rollback' }), circumstances({ ...at, drifts }))?.code;
    };
    assert.equal(about([files]), 'rule');
    assert.equal(about([{ field: 'user', desired: '1', observed: '0' }, files]), undefined);
  });

  test('that calls a drift by a kind whose rule does what its own does not', () => {
    const drift: Drift = { ...rogue, id: 'IMAGE_DRIFT/rogue', kind: 'IMAGE_DRIFT' };
    const drifts = new Map([[drift.id, { drift, sinceMs: 0 }]]);
    const about = { id: drift.id, kind: rogue.kind, digest: driftDigest(drift) };
    assert.equal(refusalOf(orderFor(rogue, { drift: about }), circumstances({ drifts }))?.code, 'gone');
  });

  test('for the drift as it was, when it is another one by now', () => {
    const other = { ...rogue, differences: [{ field: 'image', desired: null, observed: 'app:2' }] };
    const drifts = new Map([[rogue.id, { drift: other, sinceMs: 0 }]]);
    assert.equal(refusalOf(orderFor(rogue), circumstances({ drifts }))?.code, 'gone');
  });
});

test('an order stays true when the container that drifts has been started or has ended since', () => {
  const ended = {
    ...rogue,
    differences: rogue.differences.map((d) => (d.field === 'state' ? { ...d, observed: 'exited' } : d)),
  };
  assert.equal(driftDigest(ended), driftDigest(rogue));
});

test('passive mode, and rollbacks without auto_rollback, wait for a signature', () => {
  const passive = { adopted: { commit, policy: { ...policyOf(), mode: 'passive' as const } } };
  assert.equal(refusalOf(orderFor(rogue), circumstances(passive))?.code, 'approvals');
  assert.equal(refusalOf(orderFor(rogue), circumstances({ ...passive, approvers: ['ada'] })), undefined);
});

test('no order that differs in anything from one that is permitted gets more out of it than its hash says', () => {
  const base = orderFor(rogue);
  const changed = fc.record(
    {
      node: fc.constantFrom('node1', 'node2'),
      action: fc.constantFrom(...orderActions),
      container: fc.constantFrom('rogue', 'api', ''),
      containerId: fc.constantFrom(targetId, 'b'.repeat(64), null),
      commit: fc.constantFrom(commit, 'd'.repeat(40), ''),
      origin: fc.constantFrom(...orderOrigins),
      drift: fc.constantFrom(base.drift, null, { ...rogue, digest: '0'.repeat(64), id: 'x' }),
      expiresAt: fc.constantFrom(base.expiresAt, iso(nowMs - 1), iso(nowMs + 400 * 86_400_000)),
      approvals: fc.nat(3),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(changed, (said) => {
      const { drift, ...rest } = said;
      const altered: Order = {
        ...base,
        ...rest,
        ...(drift === undefined ? {} : { drift: drift && { id: drift.id, kind: rogue.kind, digest: drift.digest } }),
      };
      const isSame = { ...altered, approvals: 0 };
      const verdict = refusalOf(altered, circumstances());
      if (orderHash(isSame) === orderHash(base) && altered.approvals === 0) assert.equal(verdict, undefined);
      else assert.notEqual(verdict, undefined, JSON.stringify(said));
    }),
    { numRuns: 2_000 },
  );
});
