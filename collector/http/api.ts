import type { KeyObject } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import type { AuthPorts } from '../auth/ports.ts';
import type { BudgetSettings } from '../budgets/settings.ts';
import type { Look } from '../desired/look.ts';
import type { Recorder } from '../enforcement/ports.ts';
import type { EnrolmentStore } from '../fleet/enrolment.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { postgresFleetSources } from '../postgres/history-store.ts';
import { postgresReportSources } from '../postgres/integrity-store.ts';
import type { Db } from '../postgres/pool.ts';
import { postgresWitnessStore } from '../postgres/witness-store.ts';
import {
  createAlertOperating,
  createAnnouncing,
  createBudgeting,
  createOperating,
  noManifest,
  type OperatingNeeds,
} from '../wiring/operating.ts';
import type { WitnessesView } from '../witness/published.ts';
import { addAlertsRoutes } from './alerts-routes.ts';
import { type ArtifactSources, addArtifactsRoutes } from './artifacts-routes.ts';
import { addBudgetsRoutes } from './budgets-routes.ts';
import { addChangesRoutes } from './changes-routes.ts';
import { addContainersRoutes } from './containers-routes.ts';
import { addDesiredRoutes } from './desired-routes.ts';
import { addDriftsRoutes } from './drifts-routes.ts';
import { addEntriesRoutes } from './entries-routes.ts';
import { addFindingsRoutes } from './findings-routes.ts';
import { addFleetRoutes } from './fleet-routes.ts';
import { addGovernanceRoutes } from './governance-routes.ts';
import { addIntegrityRoutes } from './integrity-routes.ts';
import { addJobsRoutes, type JobSources } from './jobs-routes.ts';
import { addNodesRoutes } from './nodes-routes.ts';
import { addOrdersRoutes } from './orders-routes.ts';
import type { Serve } from './serving.ts';
import { addSessionsRoutes } from './sessions-routes.ts';
import { addSilencesRoutes } from './silences-routes.ts';
import { addStatsRoutes } from './stats-routes.ts';
import { addTokensRoutes } from './tokens-routes.ts';
import { addUsersRoutes } from './users-routes.ts';
import { addWitnessesRoutes } from './witness-routes.ts';

export interface ApiSources {
  readonly db: Db;
  readonly ledger: Pick<Ledger, 'checkpoint' | 'contradiction' | 'origin' | 'vkey'> & Recorder;
  /** The collector's: times of receipt are signed with it. */
  readonly collectorKey: KeyObject;
  readonly witnesses: () => Promise<WitnessesView>;
  readonly enrolment: EnrolmentStore;
  readonly auth: AuthPorts;
  readonly joinTokenTtlMs: number;
  readonly clock: Clock;
  /** What people ask of enforcement jobs. */
  readonly working: JobSources['working'];
  /** Under which the runbook's pages are; undefined where they are only in the project. */
  readonly runbookUrl?: string | undefined;
  /** Looks at the repository of the manifest now; undefined where none is followed. */
  readonly lookAtDesired?: (() => Promise<Look>) | undefined;
  /** What orders are judged by; without it operators can look and reject, and no more. */
  readonly enforcement?: Pick<OperatingNeeds, 'manifest' | 'signers'> & {
    /** Hears when an operator has put something on record. */
    readonly onRecorded: () => void;
  };
  /** What may be destroyed at all, by name; none unless said. */
  readonly budgets?: BudgetSettings;
  /** What scores artifacts. */
  readonly artifacts?: ArtifactSources;
}

const nobodyOrders = { manifest: noManifest, signers: {}, onRecorded: () => {} };

/** Everything below /api/v1 that people and programs ask for, whether over the network or within a command. */
export function addApi(serve: Serve, sources: ApiSources): void {
  const { db, ledger, collectorKey, clock, budgets } = sources;
  const { onRecorded, ...enforcement } = sources.enforcement ?? nobodyOrders;
  const recorder: Recorder = {
    record: async (statement) => {
      const recorded = await ledger.record(statement);
      onRecorded();
      return recorded;
    },
  };
  const operating = createOperating({ db, clock, ...enforcement, budgets, ledger: recorder });
  addSessionsRoutes(serve, sources.auth);
  addUsersRoutes(serve, sources.auth);
  addTokensRoutes(serve, sources.auth);
  addNodesRoutes(serve, {
    ...{ db, ttlMs: sources.joinTokenTtlMs },
    ports: { store: sources.enrolment, ledger, clock },
  });
  addContainersRoutes(serve, db);
  addFindingsRoutes(serve, db);
  addFleetRoutes(serve, { ...postgresFleetSources(db), collectorKey, clock, ledger });
  addDriftsRoutes(serve, db, clock);
  addOrdersRoutes(serve, operating);
  addSilencesRoutes(serve, operating, db);
  addGovernanceRoutes(serve, operating, db);
  addChangesRoutes(serve, createAnnouncing({ db, clock, ...enforcement, ledger: recorder }), db);
  addDesiredRoutes(serve, sources.lookAtDesired);
  addBudgetsRoutes(serve, createBudgeting({ db, budgets, ledger }));
  addAlertsRoutes(serve, { db, ports: createAlertOperating({ db, ledger }), runbookUrl: sources.runbookUrl });
  addArtifactsRoutes(serve, { db, ledger, clock, ...sources.artifacts });
  addIntegrityRoutes(serve, postgresReportSources(db));
  addEntriesRoutes(serve, db);
  addWitnessesRoutes(serve, {
    ...{ view: sources.witnesses, ledger },
    activeNodes: () => postgresWitnessStore(db).activeNodes(),
  });
  addJobsRoutes(serve, { working: sources.working, db });
  addStatsRoutes(serve, { db, ledger, clock });
}
