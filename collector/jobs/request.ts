import { AppError } from '../../common/errors.ts';
import { hex64, ownText } from '../../common/fields.ts';
import type { JobStatus } from '../../common/job-words.ts';
import type { RandomBytes } from '../auth/tokens.ts';
import type { Recorder } from '../enforcement/ports.ts';
import type { Actions, EnforcementAction } from './actions.ts';
import type { JobStore } from './ports.ts';
import { statusOf } from './runs.ts';

export interface EnforcementWish {
  /** 64 hex digits that name the wish: however often it is asked for, there is one enforcement of this name. Without it each is another one. */
  readonly key?: string;
  /** SHA-256 of a registered artifact, hex. */
  readonly artifact: string;
  readonly action: EnforcementAction;
  /** Of `webhook_alert` a URL; of `pin_arweave` a word for people. */
  readonly target: string;
  readonly reason: string;
  readonly actor: string;
}

export interface RequestPorts {
  readonly ledger: Recorder;
  readonly actions: Actions;
  /** Whether an artifact is registered. */
  readonly isRegistered: (artifact: string) => Promise<boolean>;
  readonly store: Pick<JobStore, 'job'>;
  readonly randomBytes: RandomBytes;
}

export interface EnforcementTaken {
  readonly enforcementId: string;
  readonly status: JobStatus;
}

/**
 * Puts on record that something is to be done about an artifact; the commit that does so puts the job in line. The same key again is
 * answered with the enforcement that there is, also after a crash, and when two collectors ask at once: the ledger takes one of them.
 * @throws AppError `validation.body`; `resource.not_found` for an artifact that nobody has registered; `state.conflict` for an
 *   action that is not set up.
 */
export async function requestEnforcement(ports: RequestPorts, wish: EnforcementWish): Promise<EnforcementTaken> {
  const { key, artifact, action, target, reason, actor } = wish;
  if (!hex64.safeParse(artifact).success) {
    throw new AppError('validation.body', 'artifact_id is the SHA-256 of an artifact: 64 lower-case hex digits', {
      details: { field: 'artifact_id' },
    });
  }
  for (const [field, text] of Object.entries({ target, reason })) {
    if (!ownText.safeParse(text).success || /\p{Cc}/u.test(text)) {
      throw new AppError('validation.body', `${field} is too long, or has control characters`, { details: { field } });
    }
  }
  ports.actions[action].check(target);
  if (!(await ports.isRegistered(artifact))) {
    throw new AppError('resource.not_found', `no artifact ${artifact} is registered`);
  }
  const body = { artifact, action, target, reason, actor, retryOf: null };
  if (key === undefined) return record(ports, body);
  return (
    (await taken(ports, key)) ??
    record(ports, body, key).catch(async (thrown: unknown) => {
      const isConflict = thrown instanceof AppError && thrown.code === 'state.conflict';
      const first = isConflict ? await taken(ports, key) : undefined;
      if (first !== undefined) return first;
      throw thrown;
    })
  );
}

async function taken({ store }: RequestPorts, key: string): Promise<EnforcementTaken | undefined> {
  const job = await store.job(key);
  return job && { enforcementId: key, status: statusOf(job) };
}

export async function record(
  { ledger, randomBytes }: Pick<RequestPorts, 'ledger' | 'randomBytes'>,
  body: Omit<EnforcementWish, 'key'> & { readonly retryOf: string | null },
  id = randomBytes(32).toString('hex'),
): Promise<EnforcementTaken> {
  await ledger.record({ kind: 'enforcement.requested', body: { id, ...body } });
  return { enforcementId: id, status: 'pending' };
}
