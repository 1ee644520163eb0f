import { randomBytes } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { announcementNamespace } from '../../common/enforcement/announcement.ts';
import type { AlertOperatorPorts } from '../alerts/operator.ts';
import { type BudgetPorts, spendOnOrder } from '../budgets/budgets.ts';
import type { BudgetSettings } from '../budgets/settings.ts';
import type { ChangePorts } from '../enforcement/changes.ts';
import type { ManifestInForce, OperatorPorts } from '../enforcement/operator.ts';
import type { Recorder } from '../enforcement/ports.ts';
import { type SignerFiles, sshSignatures } from '../enforcement/ssh-keygen.ts';
import { alertSilences, alertStands } from '../postgres/alert-query-store.ts';
import { postgresBudgets } from '../postgres/budget-store.ts';
import { postgresEnforcementStore } from '../postgres/enforcement-store.ts';
import { databaseNow } from '../postgres/erasure-run-store.ts';
import type { Db } from '../postgres/pool.ts';
import { listContainers } from '../postgres/query-store.ts';
import { postgresWitnessStore } from '../postgres/witness-store.ts';
import { witnessedSize } from '../witness/order-quorum.ts';

/** Whoever acts where nobody has said who it is. */
const operator = 'operator';

export interface OperatingNeeds {
  readonly db: Db;
  readonly ledger: Recorder;
  readonly clock: Clock;
  /** The manifest in force; without it nobody can order anything. */
  readonly manifest: OperatorPorts['manifest'];
  /** What approvals are checked with; without a file of allowed signers there are none. */
  readonly signers: SignerFiles;
  /** What may be destroyed by hand; all that the manifest permits where nothing is said. */
  readonly budgets?: BudgetSettings | undefined;
}

/** What carries out the wishes of operators about enforcement. */
export function createOperating(needs: OperatingNeeds): OperatorPorts {
  const { db, ledger, clock, manifest, signers } = needs;
  const budgeting = createBudgeting(needs);
  const any = { image: undefined, state: undefined };
  return {
    ...{ ledger, clock, manifest, randomBytes },
    store: postgresEnforcementStore(db),
    containersNamed: async (node, name) => {
      const rows = await listContainers(db, { node, name, ...any }, { after: undefined, limit: 2 });
      return rows.map(({ id }) => id);
    },
    checkSignature: sshSignatures(signers),
    witnessedSize: witnessedIn(db),
    spend: ({ actor, requestId }, reason) =>
      spendOnOrder({ ...budgeting, actor, ...(requestId !== undefined && { requestId }) }, reason),
    actor: operator,
  };
}

/** How much of the ledger witnesses have cosigned, as the database has it. */
function witnessedIn(db: Db): OperatorPorts['witnessedSize'] {
  const store = postgresWitnessStore(db);
  return (by) => witnessedSize(store, by);
}

/** What gives parts of budgets away. */
export function createBudgeting({
  db,
  ledger,
  budgets = {},
}: Pick<OperatingNeeds, 'db' | 'ledger' | 'budgets'>): BudgetPorts {
  return { store: postgresBudgets(db), ledger, budgets, randomBytes, actor: operator };
}

/** What announces changes: signatures are checked for that, and hold for nothing else. */
export function createAnnouncing({
  db,
  ledger,
  clock,
  signers,
}: Omit<OperatingNeeds, 'manifest' | 'budgets'>): ChangePorts {
  const checkSignature = sshSignatures(signers, announcementNamespace);
  return { ledger, clock, store: postgresEnforcementStore(db), checkSignature, actor: operator };
}

/** What carries out the wishes of operators about alerts. */
export function createAlertOperating({ db, ledger }: Pick<OperatingNeeds, 'db' | 'ledger'>): AlertOperatorPorts {
  return {
    ...{ ledger, randomBytes, actor: operator },
    silences: (nowMs) => alertSilences(db, nowMs),
    stands: (key) => alertStands(db, key),
    now: () => databaseNow(db),
  };
}

/** For as long as nobody has told which manifest is in force. */
export function noManifest(): ManifestInForce | undefined {
  return undefined;
}
