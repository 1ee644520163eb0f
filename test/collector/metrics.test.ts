import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Registry } from 'prom-client';
import { createMetrics } from '../../collector/metrics.ts';
import { witnessMetrics } from '../../collector/witness/metrics.ts';

const away = () => Promise.reject(new Error('the database does not answer'));

test('while the database is away its figures are missing, and not zero', async () => {
  const registry = new Registry();
  const metrics = createMetrics(registry, {
    ...{ ledgerEntries: away, erasedEntries: away, fleet: away, alerts: away, jobs: away, ledgerCheck: away },
    ...{ ledgerContradicted: () => false, queuedEntries: () => 0, retentionSucceededAt: () => undefined },
    deletionsHeldMs: () => 0,
  });
  witnessMetrics(registry, away);
  const text = await metrics.text();
  const gauges = ['ledger_entries', 'ledger_erased_entries', 'nodes', 'containers', 'open_drifts', 'open_findings'];
  for (const name of [
    ...gauges,
    'alerts_standing',
    'jobs_open',
    'job_dead_letters',
    'breaker_state',
    'witnessed_size',
    'unwitnessed_entries',
  ]) {
    assert.match(text, new RegExp(`^# TYPE sigilwatch_collector_${name} gauge$`, 'm'));
    assert.doesNotMatch(text, new RegExp(`^sigilwatch_collector_${name}[ {]`, 'm'));
  }
  assert.match(text, /^sigilwatch_collector_ledger_contradicted 0$/m);
});
