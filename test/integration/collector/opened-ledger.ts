import { openLedger } from '../../../collector/app.ts';
import { systemClock } from '../../../collector/clock.ts';
import { collectorKeyPath, loadCollectorKey } from '../../../collector/data/keys.ts';
import { openDatabase } from '../../../collector/database.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { createTeardown } from '../../../common/teardown.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { settingsFor } from './collectors.ts';

/** Opens the ledger as a collector or command does, lets `work` use it, and closes all of it. */
export async function withLedgerOn<T>(
  dataDir: string,
  url: string,
  work: (ledger: Ledger, db: Db) => Promise<T>,
): Promise<T> {
  const settings = settingsFor(dataDir, url);
  const teardown = createTeardown(quietLogger);
  try {
    const database = await openDatabase({ settings, logger: quietLogger, teardown });
    const keys = await loadCollectorKey(collectorKeyPath(dataDir));
    const ledger = await openLedger(settings, { database, keys, clock: systemClock, teardown, logger: quietLogger });
    return await work(ledger, database.db);
  } finally {
    await teardown.run();
  }
}

/** The stored tree head, and how many rows there are, by a hand of its own. */
export async function extentOf(url: string) {
  const teardown = createTeardown(quietLogger);
  const { db } = await openDatabase({ settings: settingsFor('/nowhere', url), logger: quietLogger, teardown });
  const { rows } = await db.query(
    `select size, root, (select count(*) from entries) as entries, (select count(*) from entry_bodies) as bodies,
            (select count(*) from tiles) as tiles
       from ledger_head`,
  );
  await teardown.run();
  return rows;
}
