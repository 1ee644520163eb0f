import type { Body, enforcementActions } from '../../common/kinds.ts';
import type { Requested } from './runs.ts';

export type EnforcementAction = (typeof enforcementActions)[number];
export type EnforcementRequest = Body<'enforcement.requested'>;

/** What one try came to, unless it threw. */
export type ActionAnswer =
  | { readonly state: 'done' }
  /** The other side has not finished; look again after so long. */
  | { readonly state: 'waiting'; readonly reason: string; readonly afterMs: number };

/** One way to carry out an enforcement. Told twice, it must have the effect of once, or let the receiver see that it is the same. */
export interface Action {
  /** @throws AppError `state.conflict` when it is not set up, `validation.body` for a target that it cannot have. */
  check(target: string): void;
  /** The outside service behind a target, by which breakers are named. */
  serviceOf(target: string): string;
  /** Whether a service that cannot be reached is waited for, for as long as it takes, rather than counted as a failure. */
  readonly isSpooled: boolean;
  /**
   * @throws AppError `channel.unreachable` when the service was not there or in trouble, `channel.refused` when it said no; with
   *   `details.isForGood` where no other try can come out differently.
   */
  run(requested: Requested, signal: AbortSignal): Promise<ActionAnswer>;
}

export type Actions = Readonly<Record<EnforcementAction, Action>>;
