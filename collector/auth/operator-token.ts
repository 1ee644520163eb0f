import { timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { tokenHash } from '../../common/enrol.ts';
import { AppError } from '../../common/errors.ts';
import type { Statement } from '../../common/kinds.ts';
import { newToken, type RandomBytes } from './tokens.ts';

/**
 * Where operator tokens are kept: their SHA-256 only. `insertFirst` is one atomic step, so of two collectors that start
 * at once exactly one gets true. `replaceAll` leaves exactly the one given.
 */
export interface OperatorTokenStore {
  hashes(): Promise<readonly Buffer[]>;
  insertFirst(hash: Buffer, createdAt: number): Promise<boolean>;
  replaceAll(hash: Buffer, createdAt: number): Promise<void>;
}

/** The collector's voice in the ledger. */
export interface Recorder {
  record(statement: Statement): Promise<unknown>;
}

export interface OperatorTokenPorts {
  readonly store: OperatorTokenStore;
  readonly ledger: Recorder;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
}

/** Makes the operator token if there is none. @returns it, this once; undefined when one exists. */
export async function ensureOperatorToken(ports: OperatorTokenPorts): Promise<string | undefined> {
  if ((await ports.store.hashes()).length > 0) return undefined;
  const token = newToken('operator', ports.randomBytes);
  if (!(await ports.store.insertFirst(tokenHash(token), ports.clock.now()))) return undefined;
  await ports.ledger.record(authEvent('operator_token.created', 'made at first start'));
  return token;
}

/** Makes a new operator token and ends all older ones. On record before it works. */
export async function replaceOperatorToken(ports: OperatorTokenPorts): Promise<string> {
  const token = newToken('operator', ports.randomBytes);
  await ports.ledger.record(authEvent('operator_token.replaced', 'older operator tokens are void'));
  await ports.store.replaceAll(tokenHash(token), ports.clock.now());
  return token;
}

function authEvent(event: string, detail: string): Statement {
  return { kind: 'auth.event', body: { event, actor: 'collector', subject: 'operator', detail } };
}

/**
 * Compares hashes in constant time, and with every stored one, so that an answer's time says nothing about any token.
 * @param authorization the `Authorization` header.
 * @throws AppError `auth.required` without a bearer token, `auth.token` for a wrong one.
 */
export async function requireOperator(authorization: string | undefined, store: OperatorTokenStore): Promise<void> {
  const [, token] = /^Bearer +(\S{1,256})$/i.exec(authorization ?? '') ?? [];
  if (token === undefined) {
    throw new AppError('auth.required', 'this needs the operator token: send "Authorization: Bearer swo_..."');
  }
  const offered = tokenHash(token);
  const matches = (await store.hashes()).filter((hash) => timingSafeEqual(hash, offered));
  if (matches.length === 0) throw new AppError('auth.token', 'this operator token is not valid (any more)');
}
