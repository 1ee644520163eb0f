import type { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { CollectorMessage, MessageOf } from '../../common/protocol.ts';

export type Refusal = MessageOf<CollectorMessage, 'refused'>;

/** What the agent is told. Faults of our own are not spelled out to the other side, and are worth another try. */
export function refusalOf({ code, message, retryable }: AppError): Refusal {
  if (/^(internal|database)\./.test(code)) {
    return { type: 'refused', code, message: 'the collector cannot serve this session now', retryable: true };
  }
  // A database put back to an old backup is ours to repair; the agents keep what they have and come back.
  if (code === 'ledger.tampered') return { type: 'refused', code, message: tampered, retryable: true };
  return { type: 'refused', code, message: message.slice(0, limits.maxRefusalChars), retryable };
}

/** What helps, and where, is in the collector's own log. */
const tampered =
  'the database of the collector does not hold what was published before, and has to be recovered there; entries are safe here meanwhile';

/** WebSocket close code (RFC 6455 §7.4.1 and the IANA registry): 1008 policy, 1013 try again later. */
export function closeCodeOf({ retryable }: Refusal): number {
  return retryable ? 1013 : 1008;
}
