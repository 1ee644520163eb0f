import { hash } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import { rfc3339 } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { authEvent } from './audit.ts';
import type { AuthPorts, Counted, Reservation } from './ports.ts';

/** Who tries a password, as far as it is known. */
export interface Attempt {
  /** As `readUserName` has it; undefined for a text that is nobody's name. */
  readonly name: string | undefined;
  /** Whether there is a user of that name. */
  readonly isKnown: boolean;
  /** Of the client; undefined on the collector's own machine. */
  readonly address: string | undefined;
  readonly requestId?: string | undefined;
}

type Ports = Pick<AuthPorts, 'attempts' | 'ledger' | 'aside'>;

/**
 * Lets `isRight` look at one password if the limits admit it. One attempt of the name and one of the address are taken before, and
 * given back only when the password was right: of any number of parallel tries no more than the limit are ever looked at.
 * @returns what `isRight` says.
 * @throws AppError `rate_limit.exceeded` with `retryAfterSeconds`; whatever `isRight` throws, which counts as not looked at.
 */
export async function countedAttempt(
  ports: Ports,
  attempt: Attempt,
  isRight: () => Promise<boolean>,
): Promise<boolean> {
  const counted = countedOf(attempt);
  const taken = await ports.attempts.reserve(counted);
  const refused = taken.filter(({ granted }) => !granted);
  const held = counted.flatMap(({ subject }, at) => (taken[at]?.granted ? [{ subject, ...taken[at] }] : []));
  if (refused.length > 0 || held.length < counted.length) throw tooMany(refused);
  const right = await isRight().catch(async (thrown: unknown) => {
    await giveBack(ports, held);
    throw thrown;
  });
  if (right) await giveBack(ports, held);
  else await countFailure(ports, attempt, held);
  return right;
}

interface Held extends Reservation {
  readonly subject: Buffer;
}

async function giveBack({ attempts }: Ports, held: readonly Held[]): Promise<void> {
  for (const { subject, beganAtMs } of held) await attempts.giveBack(subject, beganAtMs);
}

/** The same work for a name that is somebody's and one that is not; what goes on record nobody waits for. */
async function countFailure(ports: Ports, attempt: Attempt, held: readonly Held[]): Promise<void> {
  const byName = subjectOfName(attempt.name);
  let name = { failures: 0, beganAtMs: 0 };
  for (const { subject, beganAtMs } of held) {
    const failures = await ports.attempts.failed(subject, beganAtMs);
    if (subject.equals(byName)) name = { failures, beganAtMs };
  }
  ports.aside(() => (attempt.isKnown ? tellOfUser(ports, attempt, name) : tellOfStranger(ports, attempt)));
}

/** On record are the first failure of a window and the one that closes it: whoever floods the sign-in does not flood the ledger. */
async function tellOfUser(
  { ledger }: Ports,
  attempt: Attempt,
  { failures, beganAtMs }: { readonly failures: number; readonly beganAtMs: number },
): Promise<void> {
  const about = { actor: actorOf(attempt), subject: `user:${attempt.name ?? ''}`, requestId: attempt.requestId };
  if (failures === 1) {
    const detail = 'wrong password, the first in this window';
    await ledger.record(authEvent({ event: 'sign_in.failed', ...about, detail }));
  }
  if (failures !== limits.signInFailuresPerName) return;
  const until = rfc3339(beganAtMs + limits.signInWindowMs);
  const detail = `${failures} wrong passwords; none is looked at until ${until}`;
  await ledger.record(authEvent({ event: 'sign_in.locked', ...about, detail }));
}

/**
 * Of names that nobody has, all together, the first failure of a window and each tenth power; and never the text: people type passwords
 * where the name belongs.
 */
async function tellOfStranger({ attempts, ledger }: Ports, attempt: Attempt): Promise<void> {
  const total = await countStranger(attempts);
  if (!isPowerOfTen(total)) return;
  const about = { actor: actorOf(attempt), subject: 'unknown', requestId: attempt.requestId };
  const detail = `${total} within ${windowMinutes} minutes under names that nobody has`;
  await ledger.record(authEvent({ event: 'sign_in.failed', ...about, detail }));
}

function actorOf({ address }: Attempt): string {
  return address === undefined ? 'local' : `address:${address}`;
}

/** What the database's integers hold. */
const noLimit = 2 ** 31 - 1;

/** Counted, never refused. */
async function countStranger(attempts: Ports['attempts']): Promise<number> {
  const [taken] = await attempts.reserve([{ subject: strangers, max: noLimit }]);
  return taken === undefined ? 0 : attempts.failed(strangers, taken.beganAtMs);
}

const windowMinutes = Math.round(limits.signInWindowMs / 60_000);

function isPowerOfTen(count: number): boolean {
  return /^10*$/.test(String(count));
}

function countedOf({ name, address }: Attempt): readonly Counted[] {
  const byAddress = { subject: subjectOfAddress(address ?? ''), max: limits.signInFailuresPerAddress };
  const byName = { subject: subjectOfName(name), max: limits.signInFailuresPerName };
  return [...(address === undefined ? [] : [byAddress]), ...(name === undefined ? [] : [byName])];
}

const strangers = hash('sha256', 'strangers', 'buffer');

function subjectOfName(name = ''): Buffer {
  return hash('sha256', `name\n${name}`, 'buffer');
}

function subjectOfAddress(address: string): Buffer {
  return hash('sha256', `address\n${addressGroup(address)}`, 'buffer');
}

/** What counts as one address: whoever has one of IPv6 has 2^64. */
export function addressGroup(address: string): string {
  const [bare = ''] = address.toLowerCase().split('%');
  const [, mapped = ''] = /^::ffff:([0-9.]+)$/.exec(bare) ?? [];
  if (isIPv4(mapped)) return mapped;
  if (!isIPv6(bare)) return bare;
  const [head = '', tail] = bare.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const filled = [...front, ...Array<string>(Math.max(0, 8 - front.length - back.length)).fill('0'), ...back];
  return `${filled
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}

function tooMany(refused: readonly Reservation[]): AppError {
  const waitMs = Math.max(1_000, ...refused.map(({ retryAfterMs }) => retryAfterMs));
  const seconds = Math.ceil(waitMs / 1000);
  return new AppError('rate_limit.exceeded', `too many failed sign-ins; try again in ${seconds} s`, {
    retryable: true,
    details: { retryAfterSeconds: seconds },
  });
}
