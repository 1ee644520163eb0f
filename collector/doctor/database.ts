import { amount } from '../../common/amount.ts';
import { NotChecked, type Plan, Wrong } from '../../common/checkup.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { version } from '../../common/version.ts';
import type { CollectorSettings } from '../config.ts';
import { type OpenDatabase, requireMigrated } from '../database.ts';
import { archiving, connectedAs, serverFacts } from '../postgres/doctor-store.ts';
import { looseSettings, missingGuards } from '../postgres/guards.ts';
import { currentUser, rewritingPowers } from '../postgres/roles.ts';
import { presencePrefix, readPresence, settingsDigest } from '../presence/session-name.ts';

/** A database that several checks ask. The promises may reject; each check says so in its own way. */
export interface DatabaseSeen {
  readonly open: Promise<OpenDatabase>;
  /** The same, with every table that this program knows. */
  readonly migrated: Promise<OpenDatabase>;
}

export function seeDatabase(open: Promise<OpenDatabase>): DatabaseSeen {
  const migrated = open.then(async (database) => {
    await requireMigrated(database);
    return database;
  });
  // Whoever looks hears of it; nobody may look.
  migrated.catch(() => {});
  return { open, migrated };
}

/** @throws NotChecked for what needs a database that answers. */
export function opened({ open }: DatabaseSeen): Promise<OpenDatabase> {
  return open.catch(() => {
    throw new NotChecked('the database cannot be asked', 'see database');
  });
}

/** @throws NotChecked for what needs its tables. */
export async function withTables(seen: DatabaseSeen): Promise<OpenDatabase> {
  await opened(seen);
  return seen.migrated.catch(() => {
    throw new NotChecked('its tables are not those of this program', 'see migrations');
  });
}

/** The database: whether it is there, whole, and guarded. */
export function databasePlans(settings: CollectorSettings, seen: DatabaseSeen): Plan[] {
  return [
    {
      name: 'database',
      fix: 'systemctl start postgresql, or correct database.url (DATABASE_URL)',
      look: () => lookAtServer(seen),
    },
    { name: 'migrations', fix: 'sigilwatch-collector migrate', look: () => lookAtMigrations(seen) },
    { name: 'role', fix: 'see docs/tamper-resistance.md', look: () => lookAtRole(seen) },
    { name: 'guards', fix: 'see docs/tamper-resistance.md', look: () => lookAtGuards(seen) },
    { name: 'durability', fix: 'see docs/tamper-resistance.md', look: () => lookAtDurability(seen) },
    {
      name: 'clock',
      fix: 'timedatectl set-ntp true, here and on the host of the database',
      look: () => lookAtClock(seen),
    },
    {
      name: 'archive',
      fix: 'see the log of PostgreSQL: archive_command fails',
      look: () => lookAtArchive(settings, seen),
    },
    { name: 'collectors', fix: 'see docs/two-collectors.md', look: () => lookAtCollectors(settings, seen) },
  ];
}

async function lookAtServer(seen: DatabaseSeen): Promise<string> {
  const { db, description } = await seen.open;
  const facts = await serverFacts(db);
  if (facts === undefined) throw new AppError('database.unreachable', `${description} says nothing of itself`);
  return `${description}, version ${facts.version}, ${Math.ceil(facts.databaseBytes / (1024 * 1024))} MiB`;
}

async function lookAtMigrations(seen: DatabaseSeen): Promise<string> {
  await opened(seen);
  await seen.migrated;
  return 'every one of this program is applied';
}

async function lookAtRole(seen: DatabaseSeen): Promise<string> {
  const { db } = await withTables(seen);
  const [user, powers] = [await currentUser(db), await rewritingPowers(db)];
  if (powers.length === 0) return `${user} can add to the ledger and change nothing of it`;
  throw new Wrong(
    `${user} could change the past: ${powers.slice(0, 3).join('; ')}${powers.length > 3 ? ' ...' : ''}`,
    'set database.url (DATABASE_URL) to a user that owns nothing and database.ownerUrl (DATABASE_OWNER_URL) to this one, then: sigilwatch-collector migrate',
  );
}

async function lookAtGuards(seen: DatabaseSeen): Promise<string> {
  const { db } = await withTables(seen);
  const missing = await missingGuards(db);
  if (missing.length === 0) return 'changes of the ledger are refused, to the owner too';
  throw new Wrong(
    `taken down: ${missing.slice(0, 3).join('; ')}${missing.length > 3 ? ' ...' : ''}`,
    'sigilwatch-collector ledger verify; when all is in order, as the owner: alter table TABLE enable trigger all',
  );
}

async function lookAtDurability(seen: DatabaseSeen): Promise<string> {
  const { db } = await opened(seen);
  const loose = await looseSettings(db);
  if (loose.length === 0) return 'what was committed survives a power cut';
  const names = loose.map((setting) => setting.split(' ')[0] ?? setting);
  throw new Wrong(
    `a power cut may take back what was acknowledged: ${loose.join(', ')}`,
    `as a superuser: ${names.map((name) => `alter system set ${name} = on;`).join(' ')} select pg_reload_conf()`,
  );
}

async function lookAtClock(seen: DatabaseSeen): Promise<string> {
  const { db } = await opened(seen);
  const facts = await serverFacts(db);
  const offsetMs = (facts?.now.getTime() ?? Number.NaN) - Date.now();
  if (Math.abs(offsetMs) <= limits.clockSuspectMs)
    return `within ${Math.ceil(Math.abs(offsetMs) / 1000)} s of the database's`;
  throw new AppError('state.conflict', `${Math.round(offsetMs / 1000)} s away from the database's clock`);
}

async function lookAtArchive({ database }: CollectorSettings, seen: DatabaseSeen): Promise<string> {
  const { db } = await opened(seen);
  const facts = await archiving(db);
  if (facts === undefined || facts.mode === 'off') {
    const whose = database.url === undefined ? 'the embedded server keeps none' : 'archive_mode is off';
    throw new NotChecked(`no write-ahead log is kept elsewhere (${whose}), so a backup is as old as its dump`);
  }
  const { lastArchivedAt, lastFailedAt } = facts;
  if (lastFailedAt !== null && lastFailedAt > (lastArchivedAt ?? new Date(0))) {
    throw new AppError('state.conflict', `archiving has failed since ${lastFailedAt.toISOString()}`);
  }
  return lastArchivedAt === null ? 'on, nothing archived yet' : `last archived ${lastArchivedAt.toISOString()}`;
}

async function lookAtCollectors(settings: CollectorSettings, seen: DatabaseSeen): Promise<string> {
  const { db } = await opened(seen);
  const digest = settingsDigest(settings);
  const found = (await connectedAs(db, presencePrefix)).flatMap(({ applicationName, address }) => {
    const said = readPresence(applicationName);
    return said === undefined ? [] : [{ ...said, at: address ?? 'here' }];
  });
  if (found.length === 0) throw new NotChecked('none is connected', 'see service');
  const other = found.find((one) => one.version !== version);
  if (other !== undefined) {
    const fix = 'install one version on all of them and start them anew: systemctl restart sigilwatch-collector';
    throw new Wrong(`one at ${other.at} runs version ${other.version}, this is ${version}`, fix);
  }
  const different = found.find((one) => one.digest !== digest);
  if (different !== undefined) {
    throw new Wrong(
      `one at ${different.at} runs with other settings than these`,
      'give all collectors the same settings (sigilwatch-collector --print-config shows them), then: systemctl restart sigilwatch-collector',
    );
  }
  return `${amount(found.length, 'collector')} connected, version ${version}, with these settings`;
}
