import type { Clock } from '../../common/clock.ts';
import {
  type EnrolRequest,
  type EnrolResponse,
  enrolBytes,
  formatJoinToken,
  hashLogKey,
  joinKeyHash,
  joinKeys,
} from '../../common/enrol.ts';
import { collectorAuthor } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { fingerprint, publicKeyFromRaw, rawPublicKey, verifyBytes } from '../../common/keys.ts';
import type { Statement } from '../../common/kinds.ts';
import { parseVerifierKey } from '../../common/note.ts';
import { type Acting, recordAct } from '../auth/audit.ts';
import type { AuthRecorder } from '../auth/ports.ts';
import { newToken, type RandomBytes } from '../auth/tokens.ts';

export interface JoinToken {
  /** Of the public key that the token's secret makes. */
  readonly hash: Buffer;
  readonly node: string;
  /** Unix milliseconds, as all times here. */
  readonly createdAt: number;
  readonly expiresAt: number;
}

export interface JoinTokenUse {
  readonly hash: Buffer;
  readonly node: string;
  readonly fingerprint: string;
  readonly now: number;
}

export interface KnownNode {
  readonly node: string;
  readonly fingerprint: string;
  readonly enrolledAt: number;
  readonly revoked: boolean;
}

/**
 * What enrolment needs kept. `useToken` checks and consumes in one atomic step: the first key to come gets the
 * token, the same key gets it again until it expires, everybody else gets undefined. Nodes are read from the ledger's
 * projection, so they show every enrolment that has been recorded.
 */
export interface EnrolmentStore {
  insertToken(token: JoinToken): Promise<void>;
  /** When the token was first used. */
  useToken(use: JoinTokenUse): Promise<{ readonly usedAt: number } | undefined>;
  node(node: string): Promise<KnownNode | undefined>;
  nodeWithKey(fingerprint: string): Promise<KnownNode | undefined>;
  deleteTokens(node: string): Promise<void>;
  /** Tells every collector process to end the node's session. */
  announceRevoked(node: string): Promise<void>;
}

export interface FleetPorts {
  readonly store: EnrolmentStore;
  readonly ledger: AuthRecorder & { readonly origin: string; readonly vkey: string };
  readonly clock: Clock;
  /** Who wishes it, for the record; without a name, the operator on the collector's own machine. */
  readonly actor?: string;
  /** Of the request it was wished by. */
  readonly requestId?: string;
}

/** A join token as it is shown, once. */
export interface IssuedToken {
  readonly token: string;
  readonly expiresAt: number;
  /** Of the log's key, which the token names: what the node shows when it has pinned it. */
  readonly logFingerprint: string;
}

/** A single-use join token for `node`. Only the hash of the public key that its secret makes is kept. */
export async function issueJoinToken(
  ports: FleetPorts,
  { node, ttlMs, randomBytes }: { node: string; ttlMs: number; randomBytes: RandomBytes },
): Promise<IssuedToken> {
  const { store, ledger, clock } = ports;
  if (node === collectorAuthor) throw new AppError('state.conflict', `no node can be called "${collectorAuthor}"`);
  const secret = newToken('join', randomBytes);
  const createdAt = clock.now();
  const expiresAt = createdAt + ttlMs;
  const detail = `valid for ${Math.round(ttlMs / 1000)} s`;
  await recordAct(actingIn(ports), { event: 'join_token.created', subject: node, detail });
  const hash = joinKeyHash(rawPublicKey(joinKeys(secret).publicKey));
  await store.insertToken({ hash, node, createdAt, expiresAt });
  const token = formatJoinToken({ secret, logKeyHash: hashLogKey(ledger.vkey) });
  return { token, expiresAt, logFingerprint: fingerprint(parseVerifierKey(ledger.vkey).publicKey) };
}

/**
 * Enrols a node's key. Asking again with the same token and key, because the answer was lost, gets the same answer.
 * @throws AppError `auth.signature` when the key is not held by whoever asks, `auth.token` when the token does not fit,
 *   `auth.revoked` for a key that was revoked, `state.conflict` for a key that is another node's.
 */
export async function enrolNode({ store, ledger, clock }: FleetPorts, request: EnrolRequest): Promise<EnrolResponse> {
  const { node } = request;
  const print = provenFingerprint(request);
  await requireFreeKey(store, node, print);
  const use = await store.useToken({ hash: provenTokenHash(request), node, fingerprint: print, now: clock.now() });
  if (use === undefined) throw badToken(node);
  const known = await store.node(node);
  // An old token of a key that has been replaced since must not bring that key back.
  if (known !== undefined && known.fingerprint !== print && known.enrolledAt >= use.usedAt) throw badToken(node);
  if (known?.fingerprint !== print) {
    // A crash before this line leaves a used token and no node: the same request then comes by here again.
    await ledger.record(enrolled(request, print));
    await recordAct({ ledger, actor: 'join token' }, { event: 'node.enrolled', subject: node, detail: print });
  }
  // The session of the key that was replaced, if there is one.
  if (known !== undefined && known.fingerprint !== print) await store.announceRevoked(node);
  return { node, fingerprint: print, origin: ledger.origin, vkey: ledger.vkey };
}

function provenFingerprint(request: EnrolRequest): string {
  const key = publicKeyFromRaw(Buffer.from(request.public_key, 'base64'));
  if (verifyBytes(key, enrolBytes(request), Buffer.from(request.signature, 'base64'))) return fingerprint(key);
  throw new AppError('auth.signature', 'the signature is not by the key that asks to be enrolled');
}

/** The public half of a token's key may be seen by anybody; only who holds the token signs with it. */
function provenTokenHash(request: EnrolRequest): Buffer {
  const raw = Buffer.from(request.token_key, 'base64');
  const signature = Buffer.from(request.token_signature, 'base64');
  if (verifyBytes(publicKeyFromRaw(raw), enrolBytes(request), signature)) return joinKeyHash(raw);
  throw new AppError('auth.signature', 'the signature is not by the join token that is used');
}

async function requireFreeKey(store: EnrolmentStore, node: string, print: string): Promise<void> {
  const holder = await store.nodeWithKey(print);
  if (holder?.revoked)
    throw new AppError('auth.revoked', `the key ${print} was revoked; for a new one: enroll --force`);
  if (holder === undefined || holder.node === node) return;
  throw new AppError('state.conflict', `the key ${print} is already that of ${holder.node}; every node makes its own`);
}

function badToken(node: string): AppError {
  return new AppError(
    'auth.token',
    `the join token is not valid for ${node}: unknown, expired, used by another key, or made for another node. Make one with "sigilwatch-collector nodes token ${node}"`,
  );
}

function enrolled({ node, public_key, agent_version }: EnrolRequest, print: string): Statement {
  return {
    kind: 'node.enrolled',
    body: { node, publicKey: public_key, fingerprint: print, agentVersion: agent_version },
  };
}

/**
 * Revokes a node's key: on record first, then its tokens end and every collector cuts its session.
 * @throws AppError `resource.not_found` for a node nobody enrolled, `state.conflict` for one already revoked.
 */
export async function revokeNode(
  ports: FleetPorts,
  { node, reason }: { node: string; reason: string },
): Promise<KnownNode> {
  const { store, ledger } = ports;
  const known = await store.node(node);
  if (known === undefined) throw new AppError('resource.not_found', `no node ${node} was ever enrolled`);
  if (known.revoked) throw new AppError('state.conflict', `the key of ${node} is already revoked`);
  await ledger.record({ kind: 'node.revoked', body: { node, fingerprint: known.fingerprint, reason } });
  await recordAct(actingIn(ports), { event: 'node.revoked', subject: node, detail: reason });
  await store.deleteTokens(node);
  await store.announceRevoked(node);
  return { ...known, revoked: true };
}

/** Without a name, it is the operator on the collector's own machine. */
function actingIn({ ledger, actor = 'operator', requestId }: FleetPorts): Acting {
  return { ledger, actor, ...(requestId !== undefined && { requestId }) };
}
