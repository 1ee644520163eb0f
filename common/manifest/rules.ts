import { z } from 'zod';
import { limits } from '../limits.ts';
import { flag, period, text } from './values.ts';

const gracePeriod = period({ unit: 'seconds', maxMs: limits.maxGracePeriodMs });

const rule = <Action extends z.ZodType>(action: Action) =>
  z.strictObject({ action, grace_period: gracePeriod.optional() });

/** The manifest's key `drift_rules`: what is to be done about each kind of drift. Without an action it is put on record, no more. */
export const driftRules = z.strictObject({
  unauthorized_containers: rule(z.enum(['terminate', 'quarantine', 'alert', 'ignore']).default('alert'))
    .extend({ exceptions: z.array(text).default([]) })
    .prefault({}),
  image_drift: rule(z.enum(['rollback', 'alert', 'ignore']).default('alert'))
    .extend({ allow_newer_patches: flag.default(false) })
    .prefault({}),
  missing_containers: rule(z.enum(['recreate', 'alert', 'ignore']).default('alert')).prefault({}),
  config_drift: rule(z.enum(['rollback', 'alert', 'ignore']).default('alert'))
    .extend({ check_env_vars: flag.optional(), check_ports: flag.optional(), check_volumes: flag.optional() })
    .prefault({}),
});

type WrittenRules = z.output<typeof driftRules>;

/** How long a drift has to stand before its rule acts. */
type WithGrace<Rule> = Omit<Rule, 'grace_period'> & { readonly grace_period_ms: number };

export type DriftRules = { readonly [Kind in keyof WrittenRules]: WithGrace<WrittenRules[Kind]> };

/** The rules with a grace period each: their own, or the one for all of them. */
export function withGrace(rules: WrittenRules, graceMs: number): DriftRules {
  const settle = <Rule extends { readonly grace_period?: number | undefined }>({
    grace_period,
    ...others
  }: Rule): WithGrace<Rule> => ({ ...others, grace_period_ms: grace_period ?? graceMs });
  return {
    unauthorized_containers: settle(rules.unauthorized_containers),
    image_drift: settle(rules.image_drift),
    missing_containers: settle(rules.missing_containers),
    config_drift: settle(rules.config_drift),
  };
}
