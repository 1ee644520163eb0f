import { toAppError } from '../../common/errors.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { CollectorMetrics } from '../metrics.ts';
import type { Queryable } from '../postgres/pool.ts';
import { ping } from '../postgres/query-store.ts';
import type { Routes } from './env.ts';

/** The process lives. Open to everybody, so it says nothing else. */
export function addHealthRoute(routes: Routes): void {
  routes.get('/health', (c) => c.json({ status: 'ok' }));
}

export interface ReadySources {
  readonly db: Queryable;
  readonly ledger: Pick<Ledger, 'checkpoint' | 'contradiction'>;
  readonly metrics: CollectorMetrics;
}

/** `/ready`: entries can be taken and proven at this moment (200 or 503). `/metrics`: Prometheus text. */
export function addOperationRoutes(routes: Routes, { db, ledger, metrics }: ReadySources): void {
  routes.get('/ready', async (c) => {
    const checks = { database: await outcome(ping(db)), ledger: await outcome(ledger.checkpoint()) };
    const ready = Object.values(checks).every((check) => check === 'ok');
    const contradiction = ledger.contradiction?.reason;
    const body = { status: ready ? 'ready' : 'not_ready', checks, ...(contradiction && { contradiction }) };
    return c.json(body, ready ? 200 : 503);
  });
  routes.get('/metrics', async (c) =>
    c.body(await metrics.text(), 200, { 'Content-Type': metrics.contentType, 'Cache-Control': 'no-store' }),
  );
}

async function outcome(check: Promise<unknown>): Promise<string> {
  return check.then(
    () => 'ok',
    (thrown: unknown) => toAppError(thrown).code,
  );
}
