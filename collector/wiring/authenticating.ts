import type { KeyObject } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../../common/clock.ts';
import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { accessTokenKeys, jwtAccessTokens } from '../auth/access-token.ts';
import { argon2Hasher } from '../auth/argon2.ts';
import { type Authenticator, createAuthenticator } from '../auth/authenticate.ts';
import type { AuthPorts, AuthRecorder, PasswordHasher, SessionTimes } from '../auth/ports.ts';
import type { RandomBytes } from '../auth/tokens.ts';
import { postgresApiTokens } from '../postgres/api-token-store.ts';
import { postgresAttempts } from '../postgres/attempt-store.ts';
import type { Db } from '../postgres/pool.ts';
import { postgresSessions } from '../postgres/session-store.ts';
import { postgresUsers } from '../postgres/user-store.ts';

export interface AuthenticatingNeeds {
  readonly db: Db;
  readonly ledger: AuthRecorder & { readonly origin: string };
  /** The collector's own; see `accessTokenKeys`. */
  readonly collectorKey: KeyObject;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly randomBytes: RandomBytes;
  readonly times: SessionTimes;
  readonly hasher?: PasswordHasher;
}

/** Users, sessions and tokens, as one collector has them. */
export interface Authenticating extends Pick<Authenticator, 'authenticate'> {
  /** What the functions in `auth/` take. */
  readonly ports: AuthPorts;
  /** Deletes what is over, once. */
  tidy(): Promise<void>;
  /** Waits for what nobody waits for. */
  settled(): Promise<void>;
  /** Deletes what is over, now and then, unless there is a reason not to; at the end as {@link settled}. */
  follow(signal: AbortSignal, whyNot: () => Promise<string | undefined>): Promise<void>;
}

export function createAuthenticating(needs: AuthenticatingNeeds): Authenticating {
  const { db, ledger, clock, logger, randomBytes, times, collectorKey } = needs;
  const keys = accessTokenKeys(collectorKey, ledger.origin);
  const stores = {
    users: postgresUsers(db),
    sessions: postgresSessions(db),
    apiTokens: postgresApiTokens(db),
    attempts: postgresAttempts(db),
  };
  const accessTokens = jwtAccessTokens({ keys, origin: ledger.origin, randomBytes });
  const authenticator = createAuthenticator({ ...stores, accessTokens, clock });
  const beside = createAside(logger);
  const ports: AuthPorts = {
    ...{ ...stores, ledger, clock, randomBytes, accessTokens, times },
    hasher: needs.hasher ?? argon2Hasher(),
    aside: beside.aside,
    onChange: authenticator.forget,
  };
  const tidy = async (): Promise<void> => {
    const beforeMs = clock.now() - limits.endedCredentialMs;
    await ports.attempts.tidy();
    await ports.sessions.tidy(beforeMs);
    await ports.apiTokens.tidy(beforeMs);
  };
  return {
    ports,
    authenticate: authenticator.authenticate,
    tidy,
    settled: beside.settled,
    follow: async (signal, whyNot) => {
      const tidyIfDue = async () => ((await whyNot()) === undefined ? tidy() : undefined);
      while (!signal.aborted) {
        await tidyIfDue().catch((thrown: unknown) => logger.warn('auth.not_tidied', { error: toAppError(thrown) }));
        await delay(limits.authTidyMs, undefined, { signal }).catch(() => {});
      }
      await beside.settled();
    },
  };
}

interface Aside {
  readonly aside: AuthPorts['aside'];
  settled(): Promise<void>;
}

function createAside(logger: Logger): Aside {
  const pending = new Set<Promise<unknown>>();
  return {
    aside: (work) => {
      const done = work()
        .catch((thrown: unknown) => logger.error('auth.not_recorded', { error: toAppError(thrown) }))
        .finally(() => pending.delete(done));
      pending.add(done);
    },
    settled: async () => {
      await Promise.all(pending);
    },
  };
}
