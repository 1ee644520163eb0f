import type { Severity } from '../alert.ts';
import type { AlertKey, RuleName } from '../catalog.ts';
import type { Facts } from './facts.ts';
import type { RuleSettings } from './settings.ts';

/** Something that a person has to know of, for as long as it is so. */
export interface Condition {
  /** The name of its rule and what it is about, with a slash in between. */
  readonly key: AlertKey;
  readonly severity: Severity;
  readonly summary: string;
  readonly node: string | null;
}

/** What else it takes to judge. */
export interface Moment {
  /** By the collector's clock, Unix milliseconds. */
  readonly nowMs: number;
  /** When somebody began to listen: before that, nobody could have been heard. */
  readonly sinceMs: number;
  readonly settings: RuleSettings;
  /** Of the alerts that stand, by key. */
  readonly standing: ReadonlyMap<string, Severity>;
}

/** A kind of condition. Pure. */
export interface Rule {
  readonly name: RuleName;
  readonly conditions: (facts: Facts, moment: Moment) => readonly Condition[];
}
