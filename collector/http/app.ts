import { Hono } from 'hono';
import type { Clock } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { parseVerifierKey } from '../../common/note.ts';
import type { OperatorTokenStore } from '../auth/operator-token.ts';
import type { Look } from '../desired/look.ts';
import type { Recorder } from '../enforcement/ports.ts';
import type { FleetPorts } from '../fleet/enrolment.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { CollectorMetrics } from '../metrics.ts';
import { createAnnouncing, createOperating, noManifest, type OperatingNeeds } from '../operating.ts';
import { postgresFleetSources } from '../postgres/history-store.ts';
import type { Db } from '../postgres/pool.ts';
import type { PublishedWitnesses } from '../witness/published.ts';
import { addAlertsRoutes } from './alerts-routes.ts';
import { addChangesRoutes } from './changes-routes.ts';
import { addContainersRoutes } from './containers-routes.ts';
import { addDesiredRoutes } from './desired-routes.ts';
import { addDriftsRoutes } from './drifts-routes.ts';
import { addEnrolRoutes } from './enrol-routes.ts';
import { addEntriesRoutes } from './entries-routes.ts';
import type { HttpEnv, Routes } from './env.ts';
import { errorAnswer } from './errors.ts';
import { addFindingsRoutes } from './findings-routes.ts';
import { addFleetRoutes } from './fleet-routes.ts';
import { addHealthRoute, addOperationRoutes } from './health-routes.ts';
import { addLogRoutes } from './log-routes.ts';
import { openBelow, operatorsOnly, withMetrics, withRequestId } from './middleware.ts';
import { addNodesRoutes } from './nodes-routes.ts';
import { boundedAnswers } from './open-log.ts';
import { addOrdersRoutes } from './orders-routes.ts';
import { addSilencesRoutes } from './silences-routes.ts';
import { addStatsRoutes } from './stats-routes.ts';
import { addWitnessRoutes } from './witness-routes.ts';

export interface HttpSources {
  readonly db: Db;
  readonly ledger: Ledger;
  readonly witnesses: PublishedWitnesses;
  readonly fleet: FleetPorts;
  readonly operators: OperatorTokenStore;
  readonly metrics: CollectorMetrics;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly newRequestId: () => string;
  /** Whether everything below `/log/` is open to everybody. */
  readonly publicLog: boolean;
  /** Under which the runbook's pages are; undefined where they are only in the project. */
  readonly runbookUrl?: string | undefined;
  /** Looks at the repository of the manifest now; undefined where none is followed. */
  readonly lookAtDesired?: (() => Promise<Look>) | undefined;
  /** What orders are judged by; without it operators can look and reject, and no more. */
  readonly enforcement?: Pick<OperatingNeeds, 'manifest' | 'signers'> & {
    /** Hears when an operator has put something on record. */
    readonly onRecorded: () => void;
  };
}

const nobodyOrders = { manifest: noManifest, signers: {}, onRecorded: () => {} };

/** The collector's HTTP side. What stands before the operators' gate is open; everything else needs their token. */
export function createHttpApp(sources: HttpSources): Routes {
  const { db, ledger, metrics, logger, clock, publicLog } = sources;
  const app = new Hono<HttpEnv>();
  app.onError((thrown, c) => errorAnswer(c, thrown, logger));
  app.notFound((c) => {
    throw new AppError('resource.not_found', `there is no ${c.req.method} ${c.req.path.slice(0, 200)}`);
  });
  app.use(withRequestId(sources.newRequestId));
  app.use(withMetrics(metrics.http, clock));
  addHealthRoute(app);
  addEnrolRoutes(app, sources.fleet, clock);
  const gate = operatorsOnly(sources.operators);
  app.use(publicLog ? openBelow('/log/', gate) : gate);
  if (publicLog) app.use('/log/*', boundedAnswers());
  addOperationRoutes(app, { db, ledger, metrics });
  addLogRoutes(app, { ledger, checkpoint: () => sources.witnesses.note(), isPublic: publicLog });
  addWitnessRoutes(app, sources.witnesses, ledger);
  addNodesRoutes(app, db);
  addContainersRoutes(app, db);
  const { onRecorded, ...enforcement } = sources.enforcement ?? nobodyOrders;
  const recorder: Recorder = {
    record: async (statement) => {
      const recorded = await ledger.record(statement);
      onRecorded();
      return recorded;
    },
  };
  const operating = createOperating({ db, clock, ...enforcement, ledger: recorder });
  addDriftsRoutes(app, db, clock);
  addOrdersRoutes(app, operating);
  addSilencesRoutes(app, operating, db);
  addChangesRoutes(app, createAnnouncing({ db, clock, ...enforcement, ledger: recorder }), db);
  addDesiredRoutes(app, sources.lookAtDesired);
  addFindingsRoutes(app, db);
  addAlertsRoutes(app, db, sources.runbookUrl);
  addEntriesRoutes(app, db);
  const collectorKey = parseVerifierKey(ledger.vkey).publicKey;
  addFleetRoutes(app, { ...postgresFleetSources(db), collectorKey, clock, ledger });
  addStatsRoutes(app, { db, ledger, clock });
  return app;
}
