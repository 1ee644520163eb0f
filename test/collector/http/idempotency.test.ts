import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { z } from 'zod';
import { isMedia } from '../../../collector/api/contract.ts';
import { contracts } from '../../../collector/api/contracts.ts';
import { keyOf, requestDigest } from '../../../collector/http/idempotency.ts';

describe('the key of a request', () => {
  test('is that of the header, with or without quotation marks, or request_id of the body', () => {
    assert.equal(keyOf('abc-1', { request_id: 'other' }), 'abc-1');
    assert.equal(keyOf('"abc-1"', undefined), 'abc-1');
    assert.equal(keyOf(undefined, { request_id: 'r-1' }), 'r-1');
    for (const body of [undefined, null, 'text', {}, { request_id: 7 }])
      assert.equal(keyOf(undefined, body), undefined);
  });

  test('is refused when it could not be told from others in logs and tables', () => {
    for (const bad of ['', '""', 'a b', 'a"b', 'é', 'a\u0000', 'x'.repeat(256)]) {
      assert.throws(() => keyOf(bad, undefined), { code: 'validation.request' }, JSON.stringify(bad));
    }
    assert.throws(() => keyOf(undefined, { request_id: '' }), { code: 'validation.request' });
  });
});

describe('two requests are the same', () => {
  const sent = { path: '/api/v1/orders', query: {}, body: { node: 'lyra', action: 'terminate' } };

  test('whatever the order of their members', () => {
    const turned = { ...sent, body: { action: 'terminate', node: 'lyra' } };
    assert.deepEqual(requestDigest(turned), requestDigest(sent));
  });

  test('only with the same path, query and body', () => {
    const others = [
      { ...sent, path: '/api/v1/orders/1' },
      { ...sent, query: { dry: ['1'] } },
      { ...sent, body: { ...sent.body, node: 'node1' } },
      { ...sent, body: undefined },
      { ...sent, body: null },
    ];
    const digests = [sent, ...others].map((each) => requestDigest(each).toString('hex'));
    assert.equal(new Set(digests).size, digests.length);
  });
});

test('no answer that holds a secret is kept', () => {
  const secret = /"(\w*(token|secret|password|setup_code|join_code))":/;
  for (const { operation, idempotency, answers, body } of contracts) {
    if (!idempotency) continue;
    // A hash of the request is kept, too, and a password could be guessed by it.
    const sent = body instanceof z.ZodUndefined ? '' : JSON.stringify(z.toJSONSchema(body, { io: 'input' }));
    assert.doesNotMatch(sent, secret, operation);
    for (const answer of Object.values(answers)) {
      assert.doesNotMatch(isMedia(answer) ? '' : JSON.stringify(z.toJSONSchema(answer)), secret, operation);
    }
  }
});
