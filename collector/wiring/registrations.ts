import type { CollectorSettings } from '../config.ts';
import type { OpenDatabase } from '../database.ts';
import { registrationProof } from '../jobs/registration.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { postgresArtifactStore } from '../postgres/artifact-store.ts';
import { postgresExportSource } from '../postgres/export-store.ts';
import { witnessesBeside } from './witnessed.ts';
import type { WorkingNeeds } from './working.ts';

export interface RegistrationNeeds {
  readonly database: OpenDatabase;
  /** Asked for when something is to be proved: most who ask about artifacts need no ledger. */
  readonly openLedger: () => Promise<Ledger>;
}

/** What enforcement jobs need to know of artifacts, from the projections and the ledger. */
export function registrationsIn(
  settings: CollectorSettings,
  { database, openLedger }: RegistrationNeeds,
): Pick<WorkingNeeds, 'proofOf' | 'isRegistered'> {
  const store = postgresArtifactStore(database.db);
  const source = postgresExportSource(database.db);
  const registeredAt = async (id: string) => (await store.artifact(id))?.index;
  return {
    isRegistered: async (id) => (await registeredAt(id)) !== undefined,
    proofOf: async (id) => {
      const ledger = await openLedger();
      const { covering } = witnessesBeside(settings, { database, ledger });
      return registrationProof({ registeredAt, source, ledger, covering })(id);
    },
  };
}
