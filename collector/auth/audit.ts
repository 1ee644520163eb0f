import type { Statement } from '../../common/kinds.ts';
import type { AuthRecorder } from './ports.ts';

/** As the kind `auth.event` takes it. */
const maxRequestIdChars = 64;

/** Everything that goes on record about who did what: users, sessions and tokens, and what people and programs asked for. */
export type AuthEvent =
  | 'setup_code.created'
  | 'setup.done'
  | 'sign_in.succeeded'
  | 'sign_in.failed'
  | 'sign_in.locked'
  | 'session.ended'
  | 'session.refresh_reused'
  | 'password.changed'
  | 'user.created'
  | 'user.changed'
  | 'api_token.created'
  | 'api_token.revoked'
  | 'join_token.created'
  | 'node.enrolled'
  | 'node.revoked'
  | 'api.written'
  | 'permission.refused'
  | 'order.issued'
  | 'order.approved'
  | 'order.rejected'
  | 'enforcement.released'
  | 'drift.silenced'
  | 'drift.unsilenced'
  | 'change.announced'
  | 'alert.acknowledged'
  | 'alert.silenced'
  | 'alert.unsilenced'
  | 'breaker.reset'
  | 'budget.requested'
  | 'budget.committed'
  | 'budget.released'
  | 'bundle.imported';

export interface AuthFact {
  readonly event: AuthEvent;
  readonly actor: string;
  readonly subject: string;
  /** Never secrets, and never what somebody typed where a secret might have been typed. */
  readonly detail: string;
  readonly requestId?: string | undefined;
}

/** The one place where such an entry is put together. */
export function authEvent({ requestId, ...body }: AuthFact): Statement {
  const asked = requestId === undefined ? {} : { requestId: requestId.slice(0, maxRequestIdChars) };
  return { kind: 'auth.event', body: { ...body, ...asked } };
}

/** Who acts, and where it goes on record. */
export interface Acting {
  readonly ledger: AuthRecorder;
  readonly actor: string;
  /** Of the request it was wished by. */
  readonly requestId?: string;
}

/** Puts on record who does what to whom, before it is done. */
export async function recordAct(
  { ledger, actor, requestId }: Acting,
  act: Pick<AuthFact, 'event' | 'subject' | 'detail'>,
): Promise<void> {
  await ledger.record(authEvent({ ...act, actor, requestId }));
}
