import type { Fleet } from '../fleet.ts';
import type { Screen } from '../screen.ts';

/** What a step has to tell machines; names as they appear in the JSON. */
export type Facts = Readonly<Record<string, unknown>> & { readonly seen_after_ms: number };

/** Something that is done to the running system, and what must be seen of it. */
export interface Step {
  readonly name: string;
  readonly title: string;
  /** @throws NotObserved when it is not seen. */
  readonly run: (fleet: Fleet, screen: Screen) => Promise<Facts>;
}
