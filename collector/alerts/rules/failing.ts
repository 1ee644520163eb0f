import type { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { type AlertKey, alertNameOf } from '../catalog.ts';
import type { Condition, Moment } from './rule.ts';

const name = 'alerts.rule_failed';

/** Since when each rule cannot judge, by its name: Unix milliseconds. */
export type Failing = ReadonlyMap<string, number>;

const keyOf = (rule: string): AlertKey => `alerts.rule_failed/${rule}`;

/**
 * Since when rules cannot judge, as of this look. While the alert of it stands, time begins anew: where another collector can judge and resolves it,
 * the two do not contradict each other at every look.
 */
export function failingFrom(
  before: Failing,
  failed: ReadonlyMap<string, AppError>,
  { nowMs, standing }: Pick<Moment, 'nowMs' | 'standing'>,
): Failing {
  const since = (rule: string) => (standing.has(keyOf(rule)) ? nowMs : Math.min(before.get(rule) ?? nowMs, nowMs));
  return new Map([...failed.keys()].map((rule) => [rule, since(rule)]));
}

/** The alerts that rules have not been able to judge for long. */
export function failingConditions(
  failing: Failing,
  { nowMs, settings, standing }: Pick<Moment, 'nowMs' | 'settings' | 'standing'>,
): readonly Condition[] {
  if (settings.off.includes(name)) return [];
  return [...failing]
    .filter(([rule, sinceMs]) => nowMs - sinceMs >= limits.alertRuleFailedMs || standing.has(keyOf(rule)))
    .map(([rule]) => ({
      ...{ key: keyOf(rule), severity: 'error', node: null },
      summary: `alerts ${rule} are neither raised nor resolved: what they are judged by cannot be had; the collector's log says why`,
    }));
}

/** Whether an alert is that of a rule that could not judge: nobody has seen it put right. */
export function isUnknown(key: string, failed: ReadonlyMap<string, AppError>): boolean {
  return failed.has(alertNameOf(key));
}
