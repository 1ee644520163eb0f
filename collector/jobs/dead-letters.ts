import { AppError } from '../../common/errors.ts';
import { hex64, ownText } from '../../common/fields.ts';
import { type EnforcementTaken, type RequestPorts, record } from './request.ts';
import type { Job } from './runs.ts';

/*
 * A dead letter is an enforcement whose outcome is `failed`. That outcome stands: trying it again is a new enforcement that names
 * the old one. So every enforcement has one outcome for ever, no word of the ledger has to be taken back, and who reads the old one
 * sees that it failed then, whatever came of it later. Each dead letter is followed up once: it is retried, or resolved.
 */

/** What was done about a dead letter. */
export type FollowUp =
  | { readonly by: 'retry'; readonly enforcement: string; readonly actor: string; readonly atMs: number }
  | { readonly by: 'resolution'; readonly actor: string; readonly reason: string; readonly atMs: number };

export interface DeadLetter extends Job {
  /** Null while it waits for somebody. */
  readonly followUp: FollowUp | null;
}

/** Dead letters of an action that wait for somebody. */
export interface DeadLetterCount {
  readonly action: string;
  readonly count: number;
}

export interface DeadLetterStore {
  deadLetter(id: string): Promise<DeadLetter | undefined>;
}

export interface DeadLetterPorts extends Omit<RequestPorts, 'isRegistered' | 'store'> {
  readonly store: DeadLetterStore;
}

/** @throws AppError `resource.not_found`, also for an enforcement that has not failed. */
export async function findDeadLetter({ store }: Pick<DeadLetterPorts, 'store'>, id: string): Promise<DeadLetter> {
  const found = hex64.safeParse(id).success ? await store.deadLetter(id) : undefined;
  if (found !== undefined) return found;
  throw new AppError('resource.not_found', `there is no dead letter ${id.slice(0, 64)}`);
}

/**
 * Tries it again, as an enforcement of its own with a key of its own.
 * @throws AppError `resource.not_found`; `state.conflict` when somebody was first, or the action is not set up.
 */
export async function retryDeadLetter(ports: DeadLetterPorts, id: string, actor: string): Promise<EnforcementTaken> {
  const letter = requireOpen(await findDeadLetter(ports, id));
  const { artifact, action, target, reason } = letter.requested;
  ports.actions[action].check(target);
  return record(ports, { artifact, action, target, reason, actor, retryOf: id }).catch(alreadyFollowed(id));
}

/**
 * Puts on record that nothing more is to be done.
 * @throws AppError `resource.not_found`; `state.conflict` when somebody was first; `validation.body` without a reason.
 */
export async function resolveDeadLetter(
  ports: Pick<DeadLetterPorts, 'store' | 'ledger'>,
  id: string,
  by: { readonly actor: string; readonly reason: string },
): Promise<DeadLetter> {
  const reason = by.reason.trim();
  if (reason === '' || !ownText.safeParse(reason).success || /\p{Cc}/u.test(reason)) {
    throw new AppError('validation.body', 'say why nothing more is to be done: the reason goes on record', {
      details: { field: 'reason' },
    });
  }
  requireOpen(await findDeadLetter(ports, id));
  const body = { id, actor: by.actor, reason };
  await ports.ledger.record({ kind: 'enforcement.resolved', body }).catch(alreadyFollowed(id));
  return findDeadLetter(ports, id);
}

function requireOpen(letter: DeadLetter): DeadLetter {
  if (letter.followUp === null) return letter;
  throw followed(letter.requested.id);
}

/** Two at once: the ledger takes one of them. */
function alreadyFollowed(id: string): (thrown: unknown) => never {
  return (thrown) => {
    throw thrown instanceof AppError && thrown.code === 'state.conflict' ? followed(id) : thrown;
  };
}

function followed(id: string): AppError {
  return new AppError('state.conflict', `the dead letter ${id} was retried or resolved already`, { details: { id } });
}
