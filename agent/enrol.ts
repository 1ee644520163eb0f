import { z } from 'zod';
import {
  type EnrolRequest,
  type EnrolResponse,
  enrolPath,
  enrolRequest,
  enrolResponse,
  hashLogKey,
  parseJoinToken,
  signEnrolment,
} from '../common/enrol.ts';
import { AppError } from '../common/errors.ts';
import { fingerprint, type KeyPair } from '../common/keys.ts';
import { limits } from '../common/limits.ts';
import { whyNoAnswer } from '../common/no-answer.ts';
import { parseVerifierKey, type VerifierKey } from '../common/note.ts';
import {
  adoptIdentity,
  type Enrolment,
  ensureDataDir,
  type IdentityPaths,
  identityPaths,
  makeKeys,
  readEnrolment,
  readKeys,
} from './identity.ts';

export interface EnrolOptions {
  readonly dataDir: string;
  /** `http:` or `https:`. */
  readonly collector: string;
  readonly token: string;
  readonly node: string;
  readonly version: string;
  /** Makes a new key and forgets the collector this node was enrolled with. */
  readonly force: boolean;
  /** PEM of the authorities that the collector is checked by; without it those of the system. */
  readonly ca?: string | undefined;
}

export interface Enrolled {
  readonly node: string;
  /** To be compared with the one the collector shows. */
  readonly fingerprint: string;
  readonly origin: string;
  /** The log's key that was pinned, as a verifier key. */
  readonly vkey: string;
  /** Of the same. */
  readonly logFingerprint: string;
}

/**
 * Enrols this node: proves to hold a key made here and the join token, and pins the log that the token names. May be repeated with the same token
 * when the answer was lost: the key is durable before it is shown to anybody.
 * @throws AppError `state.conflict` when the node is enrolled elsewhere, `validation.request` for a malformed token, name or
 *   URL, `collector.unreachable`, `collector.refused`, `auth.key_file`.
 */
export async function enrol(options: EnrolOptions): Promise<Enrolled> {
  const { dataDir, node, force } = options;
  const { secret, logKeyHash } = parseJoinToken(options.token);
  const url = collectorUrl(options.collector);
  const paths = identityPaths(dataDir);
  await ensureDataDir(dataDir);
  const pinned = force ? undefined : await readEnrolment(paths.enrolment);
  if (pinned !== undefined) requireSameTarget(pinned, { node, url });
  const { keys, from } = await keysFor(paths, options);
  const request = validRequest(signEnrolment({ secret, node, agent_version: options.version }, keys));
  const answer = await postEnrolment(new URL(url + enrolPath), request, options.ca);
  const logKey = requireOwnAnswer(answer, { node, keys, pinned, logKeyHash });
  await adoptIdentity(paths, { node, url, origin: answer.origin, vkey: answer.vkey }, from);
  const { fingerprint: print, origin } = answer;
  return { node, fingerprint: print, origin, vkey: answer.vkey, logFingerprint: fingerprint(logKey.publicKey) };
}

/** For a person, who compares the fingerprints with those the collector shows. */
export function formatEnrolment({ node, fingerprint: print, origin, vkey, logFingerprint }: Enrolled): string {
  return `Enrolled as ${node} with ${origin}.\nKey fingerprint: ${print}\nThe collector shows the same one: sigilwatch-collector nodes list\nLog key fingerprint: ${logFingerprint}, as the join token says and "nodes token" showed\nLog key, which an executor takes: ${vkey}\n`;
}

/** The key in force, or the one of an interrupted enrolment, or a new one. */
async function keysFor(
  paths: IdentityPaths,
  { force }: Pick<EnrolOptions, 'force'>,
): Promise<{ keys: KeyPair; from: 'key' | 'pendingKey' }> {
  const inForce = force ? undefined : await readKeys(paths.key);
  if (inForce !== undefined) return { keys: inForce, from: 'key' };
  const pending = await readKeys(paths.pendingKey);
  return { keys: pending ?? (await makeKeys(paths.pendingKey)), from: 'pendingKey' };
}

function requireSameTarget(pinned: Enrolment, wish: Pick<Enrolment, 'node' | 'url'>): void {
  if (pinned.url === wish.url && pinned.node === wish.node) return;
  throw new AppError(
    'state.conflict',
    `this node is enrolled as ${pinned.node} with ${pinned.url}; to give that identity up, add --force`,
    { details: { node: pinned.node, url: pinned.url } },
  );
}

interface Expected {
  readonly node: string;
  readonly keys: KeyPair;
  readonly pinned: Enrolment | undefined;
  /** From the join token. */
  readonly logKeyHash: string;
}

/**
 * Nothing is pinned unless it is about us, names the log key that the token names, and does not contradict what was
 * pinned before. An answer that somebody on the way has changed costs nothing: the token is bound to our key by now, so
 * the same command works again.
 */
function requireOwnAnswer(answer: EnrolResponse, { node, keys, pinned, logKeyHash }: Expected): VerifierKey {
  if (answer.node !== node || answer.fingerprint !== fingerprint(keys.publicKey)) {
    throw new AppError('collector.refused', `the collector enrolled ${answer.node} with ${answer.fingerprint}, not us`);
  }
  if (hashLogKey(answer.vkey) !== logKeyHash) {
    throw new AppError(
      'collector.refused',
      'the answer names another log key than the join token does, so nothing was stored: either the token was made by another collector, or somebody between here and the collector changed the answer',
    );
  }
  const logKey = parseVerifierKey(answer.vkey);
  if (logKey.name !== answer.origin) {
    throw new AppError('collector.refused', `the collector gave a log key that is not of its log ${answer.origin}`);
  }
  if (pinned === undefined || (pinned.origin === answer.origin && pinned.vkey === answer.vkey)) return logKey;
  throw new AppError(
    'state.conflict',
    `the collector at ${pinned.url} now has another ledger or key than the one pinned; if that is intended, make a new join token (this one is used up) and add --force`,
  );
}

function collectorUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return (url.origin + url.pathname).replace(/\/+$/, '');
  throw new AppError('validation.request', `collector URL "${text}" must start with http:// or https://`);
}

function validRequest(request: EnrolRequest): EnrolRequest {
  const { success, error } = enrolRequest.safeParse(request);
  if (success) return request;
  const [issue] = error.issues;
  throw new AppError('validation.request', `${issue?.path.join('.')}: expected ${issue?.message}`);
}

const refusalBody = z.object({ error_code: z.string().max(64), message: z.string().max(limits.maxRefusalChars) });

/** Loaded when needed: an agent enrols once and runs for years without an HTTP client. */
async function postEnrolment(url: URL, request: EnrolRequest, ca: string | undefined): Promise<EnrolResponse> {
  const { Agent, request: send } = await import('undici');
  const timeoutMs = limits.handshakeTimeoutMs;
  const connect = { timeout: timeoutMs, minVersion: 'TLSv1.2', ...(ca !== undefined && { ca }) } as const;
  const dispatcher = new Agent({ maxResponseSize: limits.maxEnrolAnswerBytes, connect });
  try {
    const { statusCode, body } = await send(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify(request),
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      dispatcher,
    });
    return readAnswer(statusCode, await body.text());
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    const reason = whyNoAnswer(url.origin, cause, 'the setting collector.caFile');
    throw new AppError('collector.unreachable', `${url.origin}: ${reason}; the same command can be run again`, {
      cause,
      retryable: true,
    });
  } finally {
    await dispatcher.destroy();
  }
}

function readAnswer(statusCode: number, text: string): EnrolResponse {
  const json = parseJson(text);
  const answer = statusCode < 300 ? enrolResponse.safeParse(json) : undefined;
  if (answer?.success) return answer.data;
  const refusal = refusalBody.safeParse(json);
  const why = refusal.success ? `(${refusal.data.error_code}): ${refusal.data.message}` : `with status ${statusCode}`;
  throw new AppError('collector.refused', `the collector refused ${why}`, {
    retryable: statusCode >= 500 || statusCode === 429,
    details: { status: statusCode, ...(refusal.success ? { code: refusal.data.error_code } : {}) },
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
