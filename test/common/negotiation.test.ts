import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../common/errors.ts';
import {
  chosenProtocol,
  misunderstood,
  protocolMismatch,
  protocolName,
  readVersion,
  spokenProtocols,
} from '../../common/negotiation.ts';

test('the collector takes the best protocol that both speak, whatever the order of the offer', () => {
  assert.equal(chosenProtocol(['sigilwatch.v1', 'sigilwatch.v2'], [2, 1]), 2);
  assert.equal(chosenProtocol(['sigilwatch.v1'], [2, 1]), 1);
  assert.equal(chosenProtocol(['sigilwatch.v3', 'sigilwatch.v2'], [2, 1]), 2);
  assert.equal(chosenProtocol(['sigilwatch.v3'], [2, 1]), undefined);
  assert.equal(chosenProtocol([], [2, 1]), undefined);
});

test('this version goes on speaking the first protocol, which every agent before it speaks', () => {
  assert.equal(chosenProtocol([protocolName(1)]), 1);
  assert.deepEqual(
    spokenProtocols,
    [...spokenProtocols].sort((a, b) => b - a),
  );
});

test('who has no protocol in common is told which side to upgrade', () => {
  const ours = { spoken: [3, 2], version: '0.3.0' };
  const newer = protocolMismatch(['sigilwatch.v4'], ours);
  assert.equal(newer.code, 'state.version');
  assert.match(newer.message, /speaks sigilwatch\.v4, this collector \(0\.3\.0\).*upgrade the collector/);
  const older = protocolMismatch(['sigilwatch.v1'], ours);
  assert.equal(older.code, 'state.version');
  assert.match(older.message, /install version 0\.3\.0 of the agent/);
  assert.equal(protocolMismatch(['chat', 'sigilwatch.v', 'sigilwatch.v1x'], ours).code, 'validation.protocol');
});

test('what a later version says is not called a fault of its', () => {
  const unknown = new AppError('validation.entry', 'not an entry: Invalid input', { details: { seq: 9 } });
  const ahead = misunderstood(unknown, { role: 'agent', version: '0.2.0' }, '0.1.0');
  assert.equal(ahead.code, 'state.version');
  assert.equal(ahead.retryable, false);
  assert.equal(ahead.cause, unknown);
  assert.deepEqual(ahead.details, { seq: 9, theirs: '0.2.0', ours: '0.1.0' });
  assert.match(ahead.message, /upgrade the collector\. Entries stay on the node/);
  assert.match(misunderstood(unknown, { role: 'collector', version: '1.0.0' }, '0.1.0').message, /upgrade the agent/);
});

test('any other failure, and any of an equal or earlier version, is passed on as it is', () => {
  const unknown = new AppError('validation.entry', 'not an entry');
  for (const version of ['0.1.0', '0.0.9', 'x', undefined]) {
    assert.equal(misunderstood(unknown, { role: 'agent', version }, '0.1.0'), unknown);
  }
  const forged = new AppError('auth.signature', 'not signed');
  assert.equal(misunderstood(forged, { role: 'agent', version: '9.0.0' }, '0.1.0'), forged);
});

test('what a header calls a version is shown only when it is one', () => {
  assert.equal(readVersion('0.1.0'), '0.1.0');
  assert.equal(readVersion('1.2.3-rc.1'), '1.2.3-rc.1');
  for (const odd of [undefined, '', '1.2', '1.2.3\u001b[2J', ['1.2.3'], `1.2.3-${'a'.repeat(99)}`]) {
    assert.equal(readVersion(odd), undefined);
  }
});
