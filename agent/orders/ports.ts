import type { DesiredContainer } from '../../common/desired.ts';
import type { StandingDrift } from '../../common/enforcement/permission.ts';
import type { EnforcementPolicy } from '../../common/enforcement/policy.ts';
import type { ObservedContainer } from '../../common/observed.ts';

/** What the desk asks of whoever watches the containers. */
export interface OrderWatch {
  /** Looks at a container anew, or at all of them; resolves when what was seen is on record. @throws AppError `engine.*` */
  look(id: string): Promise<void>;
  scan(): Promise<void>;
  readonly standing: ReadonlyMap<string, StandingDrift> | undefined;
  readonly observed: ReadonlyMap<string, ObservedContainer>;
}

/** The manifest that the node itself has verified. */
export interface AdoptedPolicy {
  readonly commit: string;
  readonly policy: EnforcementPolicy;
  readonly containers: readonly DesiredContainer[];
}
