import { Gauge, type Registry } from 'prom-client';
import { setOrForget, shared } from '../gauges.ts';
import type { LastLedgerCheck } from './ports.ts';

/** Named as those of the nodes' stores, so that one rule watches all of them. */
export function integrityMetrics(registry: Registry, last: () => Promise<LastLedgerCheck | undefined>): void {
  const once = shared(last);
  const gauge = (name: string, help: string, read: (check: LastLedgerCheck) => number | null) =>
    new Gauge({
      name: `sigil_integrity_${name}`,
      help,
      labelNames: ['store'],
      registers: [registry],
      async collect() {
        this.reset();
        await setOrForget(this, async () => {
          const check = await once();
          const value = check === undefined ? null : read(check);
          if (value !== null) this.set({ store: 'ledger' }, value);
        });
      },
    });
  gauge('last_status', '1 when the last check of the ledger read everything and found nothing, else 0', (check) =>
    Number(check.status === 'ok'),
  );
  gauge('last_duration_seconds', 'How long the last check of the ledger took', ({ durationMs }) => durationMs / 1000);
  gauge('checked_records', 'Entries that the last check of the ledger verified', ({ checked }) => checked);
  gauge('failed_records', 'What it found: a fault, and rows of projections that differ', ({ failed }) => failed);
  gauge('last_success_timestamp_seconds', 'When a check of the ledger last found nothing', ({ lastOkMs }) =>
    lastOkMs === null ? null : lastOkMs / 1000,
  );
}
