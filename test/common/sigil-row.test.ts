import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rowFacts, type SigilRow } from '../../common/sigil-row.ts';

function row(record: unknown, columns: Partial<SigilRow> = {}): SigilRow {
  const [key, text] = [Buffer.from('{"auth_hash":"h"}'), JSON.stringify(record)];
  return {
    key,
    tenant: 'lyra',
    symbol: 'S',
    authHash: 'h',
    record: Buffer.from(text),
    beside: {},
    updatedAt: undefined,
    ...columns,
  };
}

const columns = { beside: { id: 'of the column' }, updatedAt: '2026-02-01T00:00:00.000Z' };

test('an inventory keeps of a row what its record says, and else what its columns do', () => {
  const record = { id: 'of the record', updatedAt: 1_767_225_600_000 };
  assert.deepEqual(rowFacts(row(record, columns)), { id: 'of the record', updatedAt: '1767225600000' });
  assert.deepEqual(rowFacts(row({}, columns)), { id: 'of the column', updatedAt: '2026-02-01T00:00:00.000Z' });
  assert.deepEqual(rowFacts(row({ id: 'a' }, { updatedAt: columns.updatedAt })), {
    id: 'a',
    updatedAt: columns.updatedAt,
  });
});

test('and nothing where neither says it', () => {
  assert.deepEqual(rowFacts(row({})), { id: '', updatedAt: '' });
  assert.deepEqual(rowFacts(row({}, { beside: { id: null } })), { id: '', updatedAt: '' });
});
