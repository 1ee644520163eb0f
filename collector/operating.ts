import { randomBytes } from 'node:crypto';
import type { Clock } from '../common/clock.ts';
import { announcementNamespace } from '../common/enforcement/announcement.ts';
import type { AlertOperatorPorts } from './alerts/operator.ts';
import type { ChangePorts } from './enforcement/changes.ts';
import type { ManifestInForce, OperatorPorts } from './enforcement/operator.ts';
import type { Recorder } from './enforcement/ports.ts';
import { type SignerFiles, sshSignatures } from './enforcement/ssh-keygen.ts';
import { alertSilences, alertStands } from './postgres/alert-query-store.ts';
import { postgresEnforcementStore } from './postgres/enforcement-store.ts';
import { databaseNow } from './postgres/erasure-run-store.ts';
import type { Db } from './postgres/pool.ts';
import { listContainers } from './postgres/query-store.ts';
import { postgresWitnessStore } from './postgres/witness-store.ts';
import { witnessedSize } from './witness/order-quorum.ts';

/** Who acts through the operator token, or on the machine of the collector: there are no users with names yet. */
const operator = 'operator';

export interface OperatingNeeds {
  readonly db: Db;
  readonly ledger: Recorder;
  readonly clock: Clock;
  /** The manifest in force; without it nobody can order anything. */
  readonly manifest: OperatorPorts['manifest'];
  /** What approvals are checked with; without a file of allowed signers there are none. */
  readonly signers: SignerFiles;
}

/** What carries out the wishes of operators about enforcement. */
export function createOperating({ db, ledger, clock, manifest, signers }: OperatingNeeds): OperatorPorts {
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
    actor: operator,
  };
}

/** How much of the ledger witnesses have cosigned, as the database has it. */
export function witnessedIn(db: Db): OperatorPorts['witnessedSize'] {
  const store = postgresWitnessStore(db);
  return (by) => witnessedSize(store, by);
}

/** What announces changes: signatures are checked for that, and hold for nothing else. */
export function createAnnouncing({ db, ledger, clock, signers }: Omit<OperatingNeeds, 'manifest'>): ChangePorts {
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
