import { type AppError, toAppError } from '../../common/errors.ts';
import { alertNameOf, ruleNames } from './catalog.ts';
import { rules } from './rules/all.ts';
import type { Facts } from './rules/facts.ts';
import type { Condition, Moment, Rule } from './rules/rule.ts';

/** Whether an alert is that of a rule: what stands under another key was raised by somebody else. */
export function isOfRule({ key }: { readonly key: string }): boolean {
  return ruleNames.includes(alertNameOf(key));
}

/** Whether the rule of an alert is switched off. */
export function isOff({ key }: { readonly key: string }, { settings }: Pick<Moment, 'settings'>): boolean {
  return settings.off.includes(alertNameOf(key));
}

/** What the rules that are on say of one moment. */
export interface Judgement {
  /** Everything that is wrong; each key once, whatever a node says twice. */
  readonly conditions: readonly Condition[];
  /** Why a rule could not judge, by its name: of what it is about nothing is known, neither that it is wrong nor that it is right. */
  readonly failed: ReadonlyMap<string, AppError>;
}

/** A rule that cannot judge keeps no other from it. @param among for tests: rules other than those there are. */
export function judge(facts: Facts, moment: Moment, among: readonly Rule[] = rules): Judgement {
  const failed = new Map<string, AppError>();
  const found = among
    .filter(({ name }) => !moment.settings.off.includes(name))
    .flatMap(({ name, conditions }) => {
      try {
        return conditions(facts, moment);
      } catch (thrown) {
        failed.set(name, toAppError(thrown));
        return [];
      }
    });
  return { conditions: [...new Map(found.map((condition) => [condition.key, condition])).values()], failed };
}
