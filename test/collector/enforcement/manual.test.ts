import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type ManualFacts, type ManualWish, manualOrder } from '../../../collector/enforcement/manual.ts';
import { refusalOf } from '../../../common/enforcement/permission.ts';
import { AppError } from '../../../common/errors.ts';
import { orderActions, orderSchema } from '../../../common/order.ts';
import { inForce, orderingManifest } from '../../orders.ts';

const nowMs = Date.UTC(2026, 0, 1);
const id = 'a'.repeat(64);
const wish: ManualWish = { node: 'lyra', action: 'quarantine', container: 'rogue', reason: 'it mines' };
const facts: ManualFacts = {
  manifest: inForce(),
  nodes: [{ node: 'lyra', adopted: null, containers: 3 }],
  containers: [id],
  by: 'operator',
  nowMs,
  nonce: Buffer.alloc(16, 7),
};

/** Under a manifest that wants the container. */
const wanting = inForce(`${orderingManifest}containers: [{ name: rogue, image: "app:1" }]\n`);

function codeOf(different: Partial<ManualFacts>, wanted: Partial<ManualWish> = {}): string {
  try {
    manualOrder({ ...wish, ...wanted }, { ...facts, ...different });
    return 'ordered';
  } catch (thrown) {
    return thrown instanceof AppError ? thrown.code : String(thrown);
  }
}

describe('an order of an operator', () => {
  test('is one that its node obeys once it is approved', () => {
    for (const action of orderActions) {
      const order = orderSchema.parse(manualOrder({ ...wish, action }, { ...facts, manifest: wanting }));
      assert.equal(order.approvals, action === 'terminate' ? 2 : 1);
      assert.equal(Date.parse(order.expiresAt) - nowMs, 3_600_000);
      const at = {
        ...{ node: 'lyra', nowMs, trusted: true, adopted: facts.manifest, drifts: new Map(), containers: 3, past: [] },
        wanted: wanting.wanted,
        ...{ target: { id, name: 'rogue' }, witnessedBy: [] },
      };
      assert.equal(refusalOf(order, { ...at, approvers: ['alice', 'bob'] }), undefined);
      assert.equal(refusalOf(order, { ...at, approvers: [] })?.code, 'approvals');
    }
  });

  test('is refused at once where no node would obey it', () => {
    const manual = 'allow_manual_overrides: true';
    const cases: Readonly<Record<string, string>> = {
      'audit mode': `config: { enforcement_mode: audit, ${manual} }`,
      'no manual orders': 'config: { enforcement_mode: active }',
      'too few approvers': `config: { enforcement_mode: active, ${manual} }\ngovernance: { approvals: { quarantine: 2 }, approvers: [a, a] }`,
    };
    for (const [name, text] of Object.entries(cases)) {
      assert.equal(codeOf({ manifest: inForce(text) }), 'state.conflict', name);
    }
  });

  test('is about the one container that was seen under the name', () => {
    assert.equal(codeOf({ containers: [] }), 'resource.not_found');
    assert.equal(codeOf({ containers: [id, 'b'.repeat(64)] }), 'state.conflict');
    assert.equal(codeOf({ nodes: [] }), 'resource.not_found');
    assert.equal(codeOf({}, { node: 'node1' }), 'resource.not_found');
  });

  test('to restore may be about one that is not there', () => {
    const restore: ManualWish = { ...wish, action: 'restore' };
    const wanted = { ...facts, manifest: wanting };
    assert.equal(manualOrder(restore, { ...wanted, containers: [] }).containerId, null);
    assert.equal(manualOrder(restore, wanted).containerId, id);
  });

  test('to make a container is refused at once where the manifest wants none of that name', () => {
    for (const action of ['restore', 'rollback'] as const) assert.equal(codeOf({}, { action }), 'state.conflict');
  });
});
