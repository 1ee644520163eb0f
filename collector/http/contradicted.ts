import type { Ledger } from '../ledger/ledger.ts';

/**
 * Spread into what tells of the fleet or the ledger as a whole: the reason, once the database was found not to be the one
 * that was published, since what is told may then be wrong. Nothing while all is well.
 */
export function contradictedField({ contradiction }: Pick<Ledger, 'contradiction'>): {
  readonly contradicted?: string;
} {
  return contradiction === undefined ? {} : { contradicted: contradiction.reason };
}
