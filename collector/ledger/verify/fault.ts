import { AppError } from '../../../common/errors.ts';
import { shownValue } from '../../../common/sigil-text.ts';

/** What can be wrong with a stored ledger; docs/verification.md says what each one means. */
export const faults = [
  /** The tree head, or entries that it does not count. */
  'head',
  'missing',
  /** Two rows claim one place. */
  'duplicate',
  'body',
  'columns',
  'leaf_hash',
  'chain',
  'author',
  'signature',
  'tile',
  'root',
  'batch',
  'author_heads',
  'nodes',
  'checkpoint',
] as const;

/** The first thing that is wrong. */
export interface LedgerFault {
  readonly fault: (typeof faults)[number];
  /** The entry it was found at, the first one of those concerned; null when it is about the ledger as a whole. */
  readonly index: number | null;
  readonly message: string;
}

/** Thrown inside verification to get out of nested steps with a fault. */
export class Found extends Error {
  readonly found: LedgerFault;

  constructor(fault: LedgerFault['fault'], index: number | null, message: string) {
    // What is told comes from rows that anybody may have written, and is going to be shown on a terminal.
    const shown = shownValue(message, (text) => text);
    super(shown);
    this.found = { fault, index, message: shown };
  }
}

/** A stored value within a message, short enough for what stands behind it to be read too. */
export function shortened(value: string): string {
  return value.length > shownChars ? `${value.slice(0, shownChars)}...` : value;
}

const shownChars = 80;

/** The fault as an error, for callers that want to fail on it. */
export function tampered({ index, message }: LedgerFault): AppError {
  const where = index === null ? 'the ledger' : `entry ${index}`;
  return new AppError('ledger.tampered', `${where}: ${message}`, { details: { index } });
}
