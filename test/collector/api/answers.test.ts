import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertPromised, contractAt } from '../../answers.ts';

describe('the comparison with contracts', () => {
  const ok = { status: 'ok' };

  test('finds the route by its pattern, and the one without parameters first', () => {
    const operationAt = (path: string) => contractAt('GET', path)?.operation;
    assert.equal(operationAt('/api/v1/orders?limit=1'), 'orders.list');
    assert.equal(operationAt('/api/v1/orders/abc'), 'orders.show');
    assert.equal(operationAt('/log/tile/entries/000.p/1'), 'log.tile');
    assert.equal(operationAt('/stats'), 'stats.show');
    assert.equal(operationAt('/api/v1/orders/abc/def'), undefined);
  });

  test('does not take what is missing, what is more, or another status', () => {
    const health = { method: 'GET', path: '/health', status: 200 };
    assert.equal(assertPromised({ ...health, json: ok }), 'service.health');
    assert.throws(() => assertPromised({ ...health, json: {} }), /service\.health/);
    assert.throws(() => assertPromised({ ...health, json: { ...ok, secret: 1 } }), /more than its schema/);
    assert.throws(() => assertPromised({ ...health, status: 201, json: ok }), /not in the contract/);
    assert.throws(() => assertPromised({ ...health, status: 500, json: ok }), /error_code/);
    assert.throws(() => assertPromised({ ...health, path: '/nowhere', json: ok }), /not in the contract/);
  });
});
