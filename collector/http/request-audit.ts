import type { Clock } from '../../common/clock.ts';
import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { type AuthEvent, recordAct } from '../auth/audit.ts';
import type { Caller } from '../auth/caller.ts';
import type { Permission } from '../auth/permissions.ts';
import type { AuthRecorder } from '../auth/ports.ts';

/** What a request is known by, for the record. */
export interface Requested {
  readonly caller: Caller;
  readonly requestId: string;
}

/** Who asked for what, on record. */
export interface RequestAudit {
  /** A write whose handler does not say it itself. @throws what the ledger throws: then it is not carried out. */
  wrote(requested: Requested, operation: string, path: string): Promise<void>;
  /** Somebody who is known wanted what is not permitted. Never throws: refused it is in any case. */
  refused(requested: Requested, permission: Permission): Promise<void>;
}

export interface RequestAuditNeeds {
  readonly ledger: AuthRecorder;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly logger: Logger;
}

/** Of refusals of the same permission to the same caller one a minute is put on record, with how many there were since. */
export function createRequestAudit({ ledger, clock, logger }: RequestAuditNeeds): RequestAudit {
  const told = new Map<string, { atMs: number; since: number }>();
  const record = ({ caller, requestId }: Requested, event: AuthEvent, subject: string, detail: string) =>
    recordAct({ ledger, actor: caller.actor, requestId }, { event, subject, detail });
  return {
    wrote: async (requested, operation, path) => {
      await record(requested, 'api.written', operation, path.slice(0, limits.maxOwnTextChars));
    },
    refused: async (requested, permission) => {
      const key = `${requested.caller.actor} ${permission}`;
      const nowMs = clock.monotonicMs();
      const last = told.get(key);
      if (last !== undefined && nowMs - last.atMs < limits.refusalTellMs) {
        last.since += 1;
        return;
      }
      // Callers are users and tokens, so there are few; whoever is not known is not told here.
      if (told.size >= limits.maxRefusalsRemembered) told.clear();
      told.set(key, { atMs: nowMs, since: 0 });
      const more = last === undefined || last.since === 0 ? '' : `; ${last.since} more since the last one on record`;
      await record(requested, 'permission.refused', permission, `${requested.caller.role}${more}`).catch(
        (thrown: unknown) => logger.warn('auth.refusal_not_recorded', { error: toAppError(thrown) }),
      );
    },
  };
}
