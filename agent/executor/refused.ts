/** Why the executor does not pass a request on. */
export type RefusalCode =
  | 'request.form'
  | 'request.size'
  | 'request.timeout'
  | 'request.call'
  | 'request.query'
  | 'request.body'
  | 'order.missing'
  | 'order.form'
  | 'order.signature'
  | 'order.misdirected'
  | 'order.expired'
  | 'order.mismatch'
  | 'order.used_up'
  /** What is to be made is not what the order commits to. */
  | 'order.wanted'
  | 'busy';

/** A verdict, not an error: requests that are not passed on are what the executor is there for. */
export interface Refused {
  readonly refused: RefusalCode;
  /** For a person. Never holds what the client sent, unless it has the harmless form that was checked. */
  readonly reason: string;
}

export function refused(code: RefusalCode, reason: string): Refused {
  return { refused: code, reason };
}

export function isRefused(value: unknown): value is Refused {
  return typeof value === 'object' && value !== null && 'refused' in value;
}
