import { systemClock } from '../../../collector/clock.ts';
import type { CollectorSettings } from '../../../collector/config.ts';
import { collectorKeyPath, loadCollectorKey } from '../../../collector/data/keys.ts';
import type { Nightly } from '../../../collector/integrity/nightly.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { createChecking } from '../../../collector/wiring/checking.ts';
import type { Logger } from '../../../common/log.ts';
import { quietLogger } from '../../quiet-logger.ts';

export interface NightlyOn {
  readonly settings: CollectorSettings;
  readonly ledger: Ledger;
  readonly db: Db;
  readonly logger?: Logger;
}

/** The nightly run of a collector, at hand for a test. */
export async function nightlyOn({ settings, ledger, db, logger = quietLogger }: NightlyOn): Promise<Nightly> {
  const { url = '' } = settings.database;
  const database = { db, url, ownerUrl: url, description: '' };
  const keys = await loadCollectorKey(collectorKeyPath(settings.dataDir));
  // Once a day, at an hour that is far: what a test has missed is due, and nothing else becomes due in the middle of it.
  const schedule = `30 ${(new Date().getHours() + 12) % 24} * * *`;
  const on = { ...settings, integrity: { ...settings.integrity, schedule, jitterMs: 0 } };
  const nightly = createChecking(on, { database, keys, ledger, clock: systemClock, logger });
  if (nightly === undefined) throw new Error('there is a schedule');
  return nightly;
}

/** As if the collectors had last been there so many days ago. */
export async function missed(db: Db, days: number): Promise<void> {
  await db.query(
    `insert into integrity_state (last_begun_at) values (now() - make_interval(days => $1))
     on conflict (only_row) do update set last_begun_at = excluded.last_begun_at`,
    [days],
  );
}

/** Hears of the process that makes a check, as soon as it is there. */
export function hearingOfChecks(begun: (pid: number) => void): Logger {
  return {
    ...quietLogger,
    info: (event, fields) => {
      if (event === 'integrity.begun' && typeof fields?.pid === 'number') begun(fields.pid);
    },
  };
}
