import { hash } from 'node:crypto';
import { canonicalText, type JsonValue } from '../../common/canonical.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { keyNameInBody } from '../api/contract.ts';
import { idempotencyKeyHeader } from '../api/headers.ts';

/*
 * A write that is sent twice under one key has one effect and one answer. The key is the caller's own: another caller's is
 * another one, whatever its text.
 */

export interface KeyName {
  /** The actor; never somebody who has not signed in, since those are not told apart. */
  readonly caller: string;
  readonly operation: string;
  readonly key: string;
}

export interface KeptAnswer {
  readonly status: number;
  /** JSON; null where it was too large to be kept. */
  readonly text: string | null;
}

export type Claim =
  /** To be carried out now, by whoever got this and nobody else. */
  | { readonly state: 'ours'; readonly claim: string }
  /** Somebody is at it, as far as is known. */
  | { readonly state: 'running' }
  | { readonly state: 'done'; readonly answer: KeptAnswer }
  /** The key is taken for another request. */
  | { readonly state: 'other' };

/**
 * Where keys are kept, durably and for all collectors of one database. Of claims that come at once exactly one is `ours`. A
 * claim that is not renewed for `limits.idempotencyLeaseMs` may be taken by whoever sends the same request again; from then
 * on the first can neither complete nor abandon it.
 */
export interface IdempotencyStore {
  claim(name: KeyName, request: Buffer): Promise<Claim>;
  renew(name: KeyName, claim: string): Promise<void>;
  complete(name: KeyName, claim: string, answer: KeptAnswer): Promise<void>;
  /** As if it had never been asked. */
  abandon(name: KeyName, claim: string): Promise<void>;
  /** Forgets some of what is old. @returns how many. */
  sweep(): Promise<number>;
}

/** Visible ASCII, in quotation marks (as a structured field has it) or without. */
const acceptableKey = new RegExp(`^[!#-~]{1,${limits.maxIdempotencyKeyChars}}$`);

/**
 * The key of a request: of its header, or `request_id` of its body.
 * @throws AppError `validation.request`.
 */
export function keyOf(header: string | undefined, body: unknown): string | undefined {
  const given = header?.trim().replace(/^"(.*)"$/, '$1') ?? requestIdIn(body);
  if (given === undefined || acceptableKey.test(given)) return given;
  const form = `1 to ${limits.maxIdempotencyKeyChars} visible ASCII characters, such as a UUID`;
  throw new AppError('validation.request', `${idempotencyKeyHeader} is refused: it has to be ${form}`, {
    details: { header: idempotencyKeyHeader },
  });
}

function requestIdIn(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null || !(keyNameInBody in body)) return undefined;
  return typeof body[keyNameInBody] === 'string' ? body[keyNameInBody] : undefined;
}

export interface SentRequest {
  readonly path: string;
  /** Names and values as they came. */
  readonly query: Readonly<Record<string, string[]>>;
  /** As it was parsed, before any default was filled in; undefined where there is none. */
  readonly body: JsonValue | undefined;
}

/** SHA-256 over what makes two requests the same: white space and the order of members do not count. */
export function requestDigest({ path, query, body }: SentRequest): Buffer {
  return hash('sha256', canonicalText([path, { ...query }, body === undefined ? [] : [body]]), 'buffer');
}

/** What came of a request: what is told, and whether it is kept. */
export interface Outcome extends KeptAnswer {
  readonly text: string;
  /** Passed on as it is to whoever asked first. */
  readonly settle: () => Response;
  readonly lasts: boolean;
}

export interface Deed {
  /** Must not throw: what failed is an outcome too. */
  readonly act: () => Promise<Outcome>;
  /** Hears why an outcome could not be kept, or the key not be given back. */
  readonly onUnkept: (thrown: unknown) => void;
}

/**
 * Carries a request out unless it was before.
 * @returns the kept answer, or the outcome of `act`.
 * @throws AppError `state.conflict` for a key that is taken for another request, or whose request is under way.
 */
export async function once(
  store: IdempotencyStore,
  name: KeyName,
  request: Buffer,
  { act, onUnkept }: Deed,
): Promise<Outcome | (KeptAnswer & { readonly replayed: true })> {
  const claimed = await store.claim(name, request);
  if (claimed.state === 'done') return { ...claimed.answer, replayed: true };
  if (claimed.state !== 'ours') throw taken(claimed.state);
  const { claim } = claimed;
  // What cannot be renewed runs out, and the same request may be carried out again.
  const renewing = setInterval(() => void store.renew(name, claim).catch(() => {}), limits.idempotencyRenewMs);
  try {
    const outcome = await act();
    // It is done whether this works or not, so whoever asked is told; without it a repetition is carried out once more.
    await (outcome.lasts ? store.complete(name, claim, bounded(outcome)) : store.abandon(name, claim)).catch(onUnkept);
    return outcome;
  } finally {
    clearInterval(renewing);
  }
}

function bounded({ status, text }: Outcome): KeptAnswer {
  return { status, text: Buffer.byteLength(text) > limits.maxKeptAnswerBytes ? null : text };
}

function taken(state: 'running' | 'other'): AppError {
  if (state === 'other') {
    return new AppError(
      'state.conflict',
      `this ${idempotencyKeyHeader} was used for another request; take a new one for each`,
    );
  }
  return new AppError('state.conflict', `the request under this ${idempotencyKeyHeader} is being carried out`, {
    retryable: true,
    details: { retryAfterSeconds: 1 },
  });
}
