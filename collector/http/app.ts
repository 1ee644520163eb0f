import { Hono } from 'hono';
import { AppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { parseVerifierKey } from '../../common/note.ts';
import { version } from '../../common/version.ts';
import { contracts } from '../api/contracts.ts';
import { describeApi } from '../api/openapi.ts';
import { anonymous, withPermission } from '../auth/caller.ts';
import { requireInForce } from '../budgets/budgets.ts';
import type { EventStreams } from '../events/streams.ts';
import type { FleetPorts } from '../fleet/enrolment.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { CollectorMetrics } from '../metrics.ts';
import type { MonitoringSettings } from '../monitoring/settings.ts';
import type { Authenticating } from '../wiring/authenticating.ts';
import { createBudgeting } from '../wiring/operating.ts';
import type { PublishedWitnesses } from '../witness/published.ts';
import { type ApiSources, addApi } from './api.ts';
import { clientAddresses, withClientAddress } from './client-address.ts';
import { type Connections, withRoom } from './connections.ts';
import { addDocumentsRoutes } from './documents-routes.ts';
import { addEnrolRoutes } from './enrol-routes.ts';
import type { HttpEnv, Routes } from './env.ts';
import { errorAnswer } from './errors.ts';
import { addEventsRoutes } from './events-routes.ts';
import { addHealthRoute, addOperationRoutes } from './health-routes.ts';
import type { IdempotencyStore } from './idempotency.ts';
import { addLogRoutes } from './log-routes.ts';
import { letBodyGo, withContradiction, withCors, withMetrics, withRequestId, withSafeHeaders } from './middleware.ts';
import { boundedAnswers } from './open-log.ts';
import type { Rates } from './rates.ts';
import { createRequestAudit } from './request-audit.ts';
import { createServing, type Gate } from './serving.ts';
import { addPolicyRoute } from './witness-routes.ts';

export interface HttpSources extends Omit<ApiSources, 'witnesses' | 'collectorKey' | 'enrolment' | 'auth'> {
  readonly ledger: Ledger;
  readonly witnesses: PublishedWitnesses;
  readonly fleet: FleetPorts;
  readonly idempotency: IdempotencyStore;
  readonly rates: Rates;
  readonly auth: Pick<Authenticating, 'authenticate' | 'ports'>;
  readonly metrics: CollectorMetrics;
  /** Where Prometheus finds the agents. */
  readonly monitoring: MonitoringSettings;
  readonly logger: Logger;
  readonly newRequestId: () => string;
  /** Live events; undefined where nothing runs that they could come from. */
  readonly events?: EventStreams | undefined;
  /** Whether everything below `/log/` is open to everybody. */
  readonly publicLog: boolean;
  /** Whether the collector itself has TLS. */
  readonly overTls: boolean;
  readonly corsOrigins: readonly string[];
  readonly connections: Pick<Connections, 'isInReserve'>;
  /** Addresses and networks whose X-Forwarded-For counts. */
  readonly trustedProxies: readonly string[];
}

/** Who may pass: whoever is signed in or has an API token; and for the log everybody where it is public. */
function gateOf({ auth, publicLog }: Pick<HttpSources, 'auth' | 'publicLog'>): Gate {
  const visitor = publicLog ? withPermission(anonymous, 'log.read') : anonymous;
  return {
    visitor,
    authenticate: async (authorization) => (authorization === undefined ? visitor : auth.authenticate(authorization)),
  };
}

/** The collector's HTTP side: every route is bound to its contract, and the gate stands before each. */
export function createHttpApp(sources: HttpSources): Routes {
  const { db, ledger, metrics, witnesses, fleet, clock, publicLog } = sources;
  const app = createShell(sources);
  app.use(withSafeHeaders({ hsts: sources.overTls }));
  if (sources.corsOrigins.length > 0) app.use('/api/*', withCors(sources.corsOrigins));
  app.use(withClientAddress(clientAddresses(sources.trustedProxies)));
  app.use(withMetrics(metrics.http, clock));
  app.use(withRoom(sources.connections));
  if (publicLog) app.use('/log/*', boundedAnswers());
  const gate = gateOf(sources);
  const { idempotency, rates, logger } = sources;
  const audit = createRequestAudit({ ledger, clock, logger });
  const serve = createServing(app, gate, { idempotency, rates, audit, logger });
  addHealthRoute(serve);
  addEnrolRoutes(app, serve, fleet, clock);
  const budgeting = createBudgeting(sources);
  const budgetsInForce = () => requireInForce(budgeting);
  addOperationRoutes(serve, { db, ledger, metrics, monitoring: sources.monitoring, budgetsInForce });
  addLogRoutes(serve, { ledger, checkpoint: () => witnesses.note(), isPublic: publicLog });
  addPolicyRoute(serve, witnesses);
  const facts = { version, serverUrl: '/', origin: ledger.origin, open: gate.visitor.permissions };
  addDocumentsRoutes(serve, () => describeApi(contracts, facts));
  addEventsRoutes(serve, gate, { streams: sources.events, corsOrigins: sources.corsOrigins });
  const collectorKey = parseVerifierKey(ledger.vkey).publicKey;
  addApi(serve, {
    ...sources,
    auth: sources.auth.ports,
    collectorKey,
    enrolment: fleet.store,
    witnesses: () => witnesses.view(),
  });
  return app;
}

/** What every answer has, of whatever route: an id, and when something went wrong the same form. */
export function createShell({
  ledger,
  logger,
  newRequestId,
}: Pick<HttpSources, 'logger' | 'newRequestId'> & { readonly ledger: Pick<Ledger, 'contradiction'> }): Routes {
  const app = new Hono<HttpEnv>();
  app.onError((thrown, c) => errorAnswer(c, thrown, logger));
  app.notFound((c) => {
    throw new AppError('resource.not_found', `there is no ${c.req.method} ${c.req.path.slice(0, 200)}`);
  });
  app.use(withRequestId(newRequestId));
  app.use(withContradiction(ledger));
  app.use(letBodyGo);
  return app;
}
