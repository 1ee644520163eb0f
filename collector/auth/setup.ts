import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { authEvent } from './audit.ts';
import { credentialHash, requirePassword, requireUserName } from './credentials.ts';
import type { AuthPorts, User } from './ports.ts';
import type { Origin } from './sessions.ts';
import { newToken } from './tokens.ts';
import { newUser, withoutPassword } from './users.ts';

/**
 * While there is no user: a new code for making the first one, and the end of all older ones.
 * @returns it, this once; undefined where there are users.
 */
export async function makeSetupCode(
  ports: Pick<AuthPorts, 'users' | 'ledger' | 'clock' | 'randomBytes'>,
): Promise<string | undefined> {
  if (await ports.users.anyUser()) return undefined;
  return ports.users.exclusively(async (desk) => {
    if (await desk.anyUser()) return undefined;
    const code = newToken('setup', ports.randomBytes);
    const createdAtMs = ports.clock.now();
    const expiresAtMs = createdAtMs + limits.setupCodeMs;
    await desk.replaceSetupCodes({ hash: credentialHash(code), createdAtMs, expiresAtMs });
    const detail = 'made at the start of a collector: there is no user yet; older codes are void';
    await ports.ledger.record(authEvent({ event: 'setup_code.created', actor: 'collector', subject: 'setup', detail }));
    return code;
  });
}

export interface SetupWish extends Origin {
  readonly code: string;
  readonly name: string;
  readonly password: string;
}

/**
 * Makes the first administrator: once, however many ask at the same time.
 * @throws AppError `state.conflict` when there are users; `auth.token` for a code that is not good (any more), before any password is
 *   hashed; `validation.body`.
 */
export async function setUp(ports: AuthPorts, { code, name, password, requestId }: SetupWish): Promise<User> {
  const codeHash = credentialHash(code);
  if (await ports.users.anyUser()) throw usersAlready();
  if (!(await ports.users.setupCodeIsGood(codeHash, ports.clock.now()))) throw badCode();
  const first = requireUserName(name);
  const passwordHash = await ports.hasher.hash(requirePassword(password));
  return ports.users.exclusively(async (desk) => {
    if (await desk.anyUser()) throw usersAlready();
    const nowMs = ports.clock.now();
    if (!(await desk.useSetupCode(codeHash, nowMs))) throw badCode();
    const user = newUser({ name: first, role: 'admin', passwordHash, nowMs });
    await desk.insert(user);
    await desk.deleteSetupCodes();
    const fact = { event: 'setup.done', actor: 'setup code', subject: `user:${first}` } as const;
    await ports.ledger.record(authEvent({ ...fact, detail: 'first administrator', requestId }));
    return withoutPassword(user);
  });
}

function usersAlready(): AppError {
  return new AppError('state.conflict', 'there are users already: sign in, or have an administrator make you one');
}

function badCode(): AppError {
  return new AppError(
    'auth.token',
    'this setup code is not valid: it holds for 24 hours and until the next start of a collector, which prints a new one',
  );
}
