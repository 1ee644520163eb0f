import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeDatabase } from '../../../collector/postgres/pool.ts';
import { choosePrimary, serversOf } from '../../../collector/postgres/primary.ts';

test('a URL names one server, or several as libpq takes them', () => {
  const read = (url: string) => serversOf(url).map((server) => [server.url, server.host, server.port]);
  const one = 'postgres://me:p%40ss@db1:6000/ledger?sslmode=disable';
  assert.deepEqual(read(one), [[one, 'db1', 6000]]);
  assert.deepEqual(read('postgres://me:p%40ss@db1:6000,[::1],10.0.0.2:5433/ledger?sslmode=disable'), [
    [one, 'db1', 6000],
    ['postgres://me:p%40ss@[::1]/ledger?sslmode=disable', '::1', 5432],
    ['postgres://me:p%40ss@10.0.0.2:5433/ledger?sslmode=disable', '10.0.0.2', 5433],
  ]);
  assert.equal(serversOf('postgres://db1/ledger?options=a,b').length, 1);
});

test('a database is described by all of its servers, and by nobody who may use it', () => {
  assert.equal(describeDatabase('postgres://me:word@db1:6000,db2/ledger'), 'db1:6000,db2:5432/ledger');
});

test('of two servers that take writes it is the one promoted last; what takes none is no choice', () => {
  const [old, promoted, standby] = [
    { writable: true, timeline: 1 },
    { writable: true, timeline: 2 },
    { writable: false, timeline: 3 },
  ];
  assert.equal(choosePrimary([old, promoted, standby]), promoted);
  assert.equal(choosePrimary([promoted, old]), promoted);
  assert.equal(choosePrimary([standby]), undefined);
  assert.equal(choosePrimary([]), undefined);
});
