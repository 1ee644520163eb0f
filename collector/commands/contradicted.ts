import { AppError } from '../../common/errors.ts';
import { rootOf } from '../../common/merkle.ts';
import { signatureTypes, verifierKey } from '../../common/note.ts';
import { ledgerMemory } from '../app.ts';
import { systemClock } from '../clock.ts';
import { howToRecover } from '../ledger/guard.ts';
import { firstUnheld, readRemembered, type Unheld } from '../ledger/remembered.ts';
import type { TreeHead } from '../ledger/store.ts';
import { postgresLedgerStore } from '../postgres/ledger-store.ts';
import { type CommandContext, type OpenCollectorData, stderrLogger } from './context.ts';

/** What a command that only reads says of a database that is not the one that was published. */
export interface Contradicted {
  readonly reason: string;
  /** The file or folder that remembers more; null when the database contradicts itself. */
  readonly where: string | null;
  readonly published: { readonly size: number; readonly root: string } | null;
  readonly found: { readonly size: number; readonly root: string } | null;
}

/**
 * Holds the database against what is remembered in the data directory, and says it aloud when they contradict each other:
 * what the command shows is then not what was published. Changes nothing.
 * @throws AppError `ledger.checkpoint_file`, `database.*`.
 */
export async function contradictionOf(
  { settings, stderr }: CommandContext,
  { database, keys }: OpenCollectorData,
): Promise<Contradicted | undefined> {
  const { origin } = settings.ledger;
  const memory = ledgerMemory(settings, { logger: stderrLogger(stderr), clock: systemClock });
  const remembered = await readRemembered(memory, verifierKey(origin, signatureTypes.ed25519, keys.publicKey));
  const store = postgresLedgerStore(database.db);
  const head = await store.head();
  const unheld = await firstUnheld(remembered, head, { store, memory, origin }).catch(brokenEnd);
  if (unheld === undefined) return undefined;
  const contradicted =
    typeof unheld === 'string' ? described(unheld, undefined, head) : described(unheld.why, unheld, head);
  stderr.write(warning(contradicted));
  return contradicted;
}

/** Spread into a result: nothing while all is well. */
export function contradictedField(contradicted: Contradicted | undefined): { readonly contradicted?: Contradicted } {
  return contradicted === undefined ? {} : { contradicted };
}

function brokenEnd(thrown: unknown): string {
  if (thrown instanceof AppError && thrown.code === 'ledger.tampered') return thrown.message;
  throw thrown;
}

function described(reason: string, unheld: Unheld | undefined, head: TreeHead | undefined): Contradicted {
  const { known, where = null } = unheld ?? {};
  return {
    reason,
    where,
    published: known === undefined ? null : { size: known.size, root: known.root.toString('base64') },
    found: head === undefined ? null : { size: head.range.size, root: rootOf(head.range).toString('base64') },
  };
}

function warning({ reason, where, published }: Contradicted): string {
  const remembered =
    published === null ? '' : `${where} has a checkpoint of ${published.size} entries, but in the database `;
  return (
    'CONTRADICTED: the database does not hold the ledger that was published from here, so what this command shows may be wrong: ' +
    `${remembered}${reason}.${howToRecover}\n`
  );
}
