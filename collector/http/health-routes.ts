import { toAppError } from '../../common/errors.ts';
import { health, metrics as metricsText, metricTargets, ready } from '../api/service-contract.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { CollectorMetrics } from '../metrics.ts';
import type { MonitoringSettings } from '../monitoring/settings.ts';
import { agentTargets } from '../monitoring/targets.ts';
import type { Queryable } from '../postgres/pool.ts';
import { activeNodes, ping } from '../postgres/query-store.ts';
import type { Serve } from './serving.ts';

/** The process lives. Open to everybody, so it says nothing else. */
export function addHealthRoute(serve: Serve): void {
  serve.json(health, async () => ({ status: 'ok' as const }));
}

export interface ReadySources {
  readonly db: Queryable;
  readonly ledger: Pick<Ledger, 'checkpoint' | 'contradiction'>;
}

/** Whether entries can be taken and proven at this moment, by part: `ok`, or the code of what is wrong. Never rejects. */
export async function readiness({ db, ledger }: ReadySources) {
  return { database: await outcome(ping(db)), ledger: await outcome(ledger.checkpoint()) };
}

interface OperationSources extends ReadySources {
  readonly metrics: CollectorMetrics;
  readonly monitoring: MonitoringSettings;
  /** Whether the budgets are those in force. @throws AppError `state.conflict`. */
  readonly budgetsInForce: () => Promise<void>;
}

/** `/ready`: entries can be taken and proven at this moment (200 or 503). `/metrics`: Prometheus text. `/sd/prometheus`: where agents have theirs. */
export function addOperationRoutes(serve: Serve, sources: OperationSources): void {
  const { db, ledger, metrics, monitoring, budgetsInForce } = sources;
  serve.json(metricTargets, async () => agentTargets(await activeNodes(db), monitoring));
  serve.either(ready, async () => {
    const checks = await readiness({ db, ledger });
    const contradiction = ledger.contradiction?.reason;
    const budgets = await outcome(budgetsInForce());
    const found = { checks, budgets, ...(contradiction !== undefined && { contradiction }) };
    if (Object.values(checks).every((check) => check === 'ok')) {
      return { status: 200, body: { status: 'ready' as const, ...found } };
    }
    return { status: 503, body: { status: 'not_ready' as const, ...found } };
  });
  serve.raw(metricsText, async (_, c) =>
    c.body(await metrics.text(), 200, { 'Content-Type': metrics.contentType, 'Cache-Control': 'no-store' }),
  );
}

async function outcome(check: Promise<unknown>): Promise<string> {
  return check.then(
    () => 'ok',
    (thrown: unknown) => toAppError(thrown).code,
  );
}
