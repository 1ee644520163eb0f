import { stat } from 'node:fs/promises';
import { amount } from '../../common/amount.ts';
import { NotChecked, type Plan, Wrong } from '../../common/checkup.ts';
import { AppError } from '../../common/errors.ts';
import { fingerprint } from '../../common/keys.ts';
import type { Logger } from '../../common/log.ts';
import { signatureTypes, verifierKey } from '../../common/note.ts';
import { shellWord } from '../../common/shell-word.ts';
import type { CollectorSettings } from '../config.ts';
import { collectorKeyPath, findCollectorKey } from '../data/keys.ts';
import { gitRepository } from '../desired/git.ts';
import { checkpointPath, fsCheckpointFile } from '../ledger/fs-checkpoint-file.ts';
import { openOwn, whyNotContained } from '../ledger/guard.ts';
import { loadTail } from '../ledger/tail.ts';
import { postgresLedgerStore } from '../postgres/ledger-store.ts';
import { type DatabaseSeen, withTables } from './database.ts';
import { requireOwnDataDir } from './machine.ts';

/** What the ledger needs outside the database. */
export function ledgerPlans(settings: CollectorSettings, seen: DatabaseSeen, logger: Logger): Plan[] {
  const { repository } = settings.ledger.mirror;
  return [
    { name: 'key', fix: 'restore collector.key from the backup', look: () => lookAtKey(settings, seen) },
    {
      name: 'checkpoint file',
      fix: 'stop every collector on this database, then follow docs/recovery.md',
      look: () => lookAtCheckpoint(settings, seen, logger),
    },
    {
      name: 'mirror',
      fix: 'sigilwatch-collector ledger mirror --once',
      look: async () => {
        if (repository === undefined) throw new NotChecked('none is kept; ledger.mirror.repository is not set');
        return `${repository}, commit ${(await gitRepository(repository).head()).slice(0, 12)}`;
      },
    },
  ];
}

/** @throws NotChecked where there is no ledger yet. */
async function headOf(seen: DatabaseSeen) {
  const { db } = await withTables(seen);
  const store = postgresLedgerStore(db);
  return { store, head: await store.head() };
}

async function lookAtKey({ dataDir, ledger }: CollectorSettings, seen: DatabaseSeen): Promise<string> {
  await requireOwnDataDir(dataDir);
  const path = collectorKeyPath(dataDir);
  await requirePrivate(path);
  const keys = await findCollectorKey(path);
  if (keys !== undefined) return `of ${ledger.origin}, ${fingerprint(keys.publicKey)}`;
  const { head } = await headOf(seen);
  if (head === undefined || head.range.size === 0) throw new NotChecked('the first start makes it', 'see service');
  throw new AppError('auth.key_file', `the database holds the ledger ${head.origin}, but its key is not in ${path}`);
}

async function requirePrivate(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return;
  const self = process.geteuid?.() ?? found.uid;
  if (found.uid !== self)
    throw new Wrong(`${path} belongs to user ${found.uid}, not to ${self}`, `chown ${self} ${shellWord(path)}`);
  if ((found.mode & 0o077) === 0) return;
  const octal = (found.mode & 0o777).toString(8).padStart(4, '0');
  throw new Wrong(`others may use the collector's key ${path} (mode ${octal})`, `chmod 600 ${shellWord(path)}`);
}

/** The file is read before the database, which may grow meanwhile. */
async function lookAtCheckpoint(
  { dataDir, ledger: { origin } }: CollectorSettings,
  seen: DatabaseSeen,
  logger: Logger,
): Promise<string> {
  await requireOwnDataDir(dataDir);
  const keys = await findCollectorKey(collectorKeyPath(dataDir)).catch(() => undefined);
  if (keys === undefined) throw new NotChecked('there is no key that it could be signed by', 'see key');
  const path = checkpointPath(dataDir);
  const note = await fsCheckpointFile(path, logger).read();
  const { store, head } = await headOf(seen);
  if (head !== undefined && head.origin !== origin) {
    const fix = `set ledger.origin: ${head.origin} in the settings`;
    throw new Wrong(`the database holds the ledger ${head.origin}, the settings say ${origin}`, fix);
  }
  if (note === undefined) {
    if (head === undefined || head.range.size === 0) throw new NotChecked('nothing was published yet', 'see service');
    throw new Wrong(
      `${path} is missing: nothing outside the database remembers what was published`,
      `start the collector, which writes it anew; if you have a copy, put it there first, or: sigilwatch-collector ledger verify --checkpoint FILE`,
    );
  }
  const known = openOwn(note, verifierKey(origin, signatureTypes.ed25519, keys.publicKey));
  const why = head === undefined ? 'it is empty' : await whyNotContained(known, await loadTail(store, head), store);
  if (why === undefined) return `the database continues it, from ${amount(known.size, 'entry', 'entries')}`;
  throw new AppError(
    'ledger.tampered',
    `the database does not continue the checkpoint of ${known.size} entries: ${why}`,
  );
}
