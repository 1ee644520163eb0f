import { hash, randomBytes } from 'node:crypto';
import type { PasswordHasher } from '../../../collector/auth/ports.ts';
import { makeSetupCode, setUp } from '../../../collector/auth/setup.ts';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { type Authenticating, createAuthenticating } from '../../../collector/wiring/authenticating.ts';
import type { Clock } from '../../../common/clock.ts';
import { keyPairFromSeed } from '../../../common/keys.ts';
import type { Body } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import { type TestPostgres, testPool } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';

/** Users, sessions and tokens on a real database and ledger, with copies of one key: as in several collectors. */
export interface AuthWorld {
  readonly db: Db;
  readonly collectors: readonly [Authenticating, Authenticating];
  readonly hasher: CountingHasher;
  /** Moves all clocks of the collectors on; that of the database stays. What is believed for a while is believed until then. */
  pass(ms: number): void;
  /** As if the windows of failed sign-ins had begun so much earlier. */
  passWindow(ms: number): Promise<void>;
  /** What is on record about users, in order. */
  events(): Promise<readonly Body<'auth.event'>[]>;
  /** Everything in tables of users, sessions, tokens and the ledger, as text. */
  everythingKept(): Promise<string>;
  stop(): Promise<void>;
}

/** Costs nothing, and counts how often somebody's guess was looked at. */
export interface CountingHasher extends PasswordHasher {
  looks: number;
}

export const origin = 'test.local/ledger';
export const password = 'correct horse battery';

export async function openAuthWorld(postgres: TestPostgres): Promise<AuthWorld> {
  const { url } = await postgres.writerDatabase();
  const pools = [testPool(url), testPool(url)] as const;
  const [db] = pools;
  const keys = keyPairFromSeed(hash('sha256', 'collector', 'buffer'));
  let shiftMs = 0;
  const clock: Clock = { now: () => Date.now() + shiftMs, monotonicMs: () => shiftMs };
  const hasher = countingHasher();
  const ledgers: Ledger[] = [];
  const open = async (pool: Db): Promise<Authenticating> => {
    const ledger = new Ledger({ store: postgresLedgerStore(pool), origin, keys, clock });
    await ledger.start();
    ledgers.push(ledger);
    const times = { accessTokenMs: limits.accessTokenMs, sessionMs: limits.sessionMs, idleMs: limits.sessionIdleMs };
    const shared = { ledger, clock, randomBytes, times, hasher, logger: quietLogger };
    return createAuthenticating({ db: pool, collectorKey: keys.privateKey, ...shared });
  };
  return {
    db,
    collectors: [await open(pools[0]), await open(pools[1])],
    hasher,
    pass: (ms) => {
      shiftMs += ms;
    },
    passWindow: async (ms) => {
      await db.query(`update sign_in_attempts set began_at = began_at - $1 * interval '1 ms'`, [ms]);
    },
    events: async () => {
      const bodies = await bodiesIn(db);
      return bodies.filter(({ kind }) => kind === 'auth.event').map(({ body }) => body);
    },
    everythingKept: async () => {
      const tables = ['users', 'sessions', 'api_tokens', 'setup_codes', 'sign_in_attempts'];
      const texts = await Promise.all(
        tables.map(async (table) => JSON.stringify((await db.query(`select t::text as row from ${table} t`)).rows)),
      );
      return [...texts, JSON.stringify(await bodiesIn(db))].join('\n');
    },
    stop: async () => {
      for (const ledger of ledgers) await ledger.close();
      for (const pool of pools) await pool.end();
    },
  };
}

async function bodiesIn(db: Db): Promise<readonly { kind: string; body: Body<'auth.event'> }[]> {
  const { rows } = await db.query<{ bytes: Buffer }>('select bytes from entry_bodies order by index');
  return rows.map(({ bytes }) => JSON.parse(bytes.toString('utf8')));
}

function countingHasher(): CountingHasher {
  const digest = (text: string) => hash('sha256', `test\n${text}`, 'hex');
  const hasher: CountingHasher = {
    looks: 0,
    hash: async (text) => digest(text),
    verify: async (known, text) => {
      hasher.looks += 1;
      return known === digest(text);
    },
  };
  return hasher;
}

/** The first administrator, `root`. */
export async function withAdmin({ collectors: [one] }: AuthWorld): Promise<void> {
  const code = (await makeSetupCode(one.ports)) ?? '';
  await setUp(one.ports, { code, name: 'root', password });
}

/** `Authorization` of an access or API token. */
export function bearer(token: string): string {
  return `Bearer ${token}`;
}
