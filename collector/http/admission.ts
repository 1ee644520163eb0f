import { toAppError } from '../../common/errors.ts';
import { type Caller, requirePermission } from '../auth/caller.ts';
import type { Admission } from '../events/ports.ts';
import type { Gate } from './serving.ts';

/**
 * Whoever the gate has let through, for as long as it would let them through again with what they have shown: a stream ends
 * with the token it was opened with, or with the permission.
 */
export function admissionOf(gate: Gate, caller: Caller, authorization: string | undefined): Admission {
  return {
    caller,
    stillAllowed: async () => {
      try {
        await pass(gate, authorization);
        return true;
      } catch (thrown) {
        if (toAppError(thrown).code.startsWith('auth.')) return false;
        throw thrown;
      }
    },
  };
}

async function pass({ visitor, authenticate }: Gate, authorization: string | undefined): Promise<Caller> {
  const caller = authorization === undefined ? visitor : await authenticate(authorization);
  requirePermission(caller, 'events.read');
  return caller;
}
