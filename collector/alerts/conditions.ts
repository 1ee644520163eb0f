import { alertNameOf, ruleNames } from './catalog.ts';
import { rules } from './rules/all.ts';
import type { Facts } from './rules/facts.ts';
import type { Condition, Moment } from './rules/rule.ts';

/** Whether an alert is that of a rule: what stands under another key was raised by somebody else. */
export function isOfRule({ key }: { readonly key: string }): boolean {
  return ruleNames.includes(alertNameOf(key));
}

/** Whether the rule of an alert is switched off. */
export function isOff({ key }: { readonly key: string }, { settings }: Pick<Moment, 'settings'>): boolean {
  return settings.off.includes(alertNameOf(key));
}

/** Everything that is wrong now, by the rules that are on; each key once, whatever a node says twice. */
export function conditionsOf(facts: Facts, moment: Moment): readonly Condition[] {
  const found = rules
    .filter(({ name }) => !moment.settings.off.includes(name))
    .flatMap(({ conditions }) => conditions(facts, moment));
  return [...new Map(found.map((condition) => [condition.key, condition])).values()];
}
