import { systemClock } from '../../../collector/clock.ts';
import { migrate, migrationsDir, readMigrations } from '../../../collector/postgres/migrate.ts';

/** Migrates the database of the first argument and prints how many files that took. */
const url = process.argv[2] ?? '';
const applied = await migrate({ url, applicationName: 'test' }, await readMigrations(migrationsDir), systemClock);
process.stdout.write(String(applied.length));
