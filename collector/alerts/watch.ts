import type { Clock } from '../../common/clock.ts';
import { alertSeverities } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { Recorder } from '../enforcement/ports.ts';
import type { Severity } from './alert.ts';
import { affordable, nothingSpent } from './budget.ts';
import { isOff, isOfRule, type Judgement, judge } from './conditions.ts';
import type { AlertMetrics, AlertStore } from './ports.ts';
import type { Facts } from './rules/facts.ts';
import { type Failing, failingConditions, failingFrom, isUnknown } from './rules/failing.ts';
import type { Condition, Moment } from './rules/rule.ts';
import type { RuleSettings } from './rules/settings.ts';
import type { Alert } from './standing.ts';

export interface ConditionWatchOptions {
  readonly store: Pick<AlertStore, 'atDesk'>;
  readonly facts: (nowMs: number) => Promise<Facts>;
  readonly settings: RuleSettings;
  readonly ledger: Recorder;
  /** That of the collector, by which entries are received. */
  readonly clock: Pick<Clock, 'now'>;
  readonly metrics: Pick<AlertMetrics, 'ruleFailed'>;
  readonly logger: Logger;
}

/** Puts alerts on record for what is wrong. */
export interface ConditionWatch {
  /**
   * Raises what is wrong and not raised yet, or with another severity, and resolves what is right again. Where two collectors look at the
   * same moment, an alert may be raised twice, which is no news. What a rule is about that could not judge stays as it is.
   * @throws AppError when what stands could not be read, or something not be put on record; the next look does it.
   */
  look(): Promise<void>;
}

/** Listens from now on: a node that was silent before may not have been able to say anything. */
export function createConditionWatch(options: ConditionWatchOptions): ConditionWatch {
  const { store, facts, settings, ledger, clock, metrics, logger } = options;
  let failing: Failing = new Map();
  let told: ReadonlyMap<string, string> = new Map();
  let sinceMs = clock.now();
  let lookedMs = sinceMs;
  let spent = nothingSpent;
  /** Once: where another collector has the rule on, the two would otherwise contradict each other for ever. */
  let endsOff = settings.off.length > 0;

  /** Undefined where what was raised a moment ago, here or elsewhere, has not been read yet: nobody can say what stands. */
  const readStanding = () =>
    store.atDesk(async (desk) => {
      if ((await desk.nextEntries(1)).length > 0) return undefined;
      return (await desk.standing()).filter(isOfRule);
    });

  /** While the database did not answer, this process stood still, or the clock was set, no node could be heard either. */
  const listen = (nowMs: number): void => {
    if (Math.abs(nowMs - lookedMs) > limits.alertListenGapMs) sinceMs = nowMs;
    lookedMs = nowMs;
  };

  /** Each reason once, until it is another one or the rule can judge again. */
  const tellOf = (failed: Judgement['failed']): void => {
    for (const [rule, error] of failed) {
      metrics.ruleFailed(rule);
      if (told.get(rule) !== error.message) logger.error('alerts.rule_failed', { rule, error });
    }
    for (const rule of told.keys()) if (!failed.has(rule)) logger.info('alerts.rule_judges_again', { rule });
    told = new Map([...failed].map(([rule, { message }]) => [rule, message]));
  };

  const judgeAll = (found: Facts, moment: Moment): Judgement => {
    const { conditions, failed } = judge(found, moment);
    tellOf(failed);
    failing = failingFrom(failing, failed, moment);
    return { conditions: [...conditions, ...failingConditions(failing, moment)], failed };
  };

  return {
    look: async () => {
      const nowMs = clock.now();
      const found = await facts(nowMs);
      // Recorded once the desk is free again: the ledger needs a connection too, and the last one may be ours.
      const stands = await readStanding();
      listen(nowMs);
      if (stands === undefined) return;
      const standing: ReadonlyMap<string, Severity> = new Map(stands.map(({ key, severity }) => [key, severity]));
      const { conditions, failed } = judgeAll(found, { nowMs, sinceMs, settings, standing });
      const wrong: ReadonlySet<string> = new Set(conditions.map(({ key }) => key));
      const [off, on] = [
        stands.filter((alert) => isOff(alert, { settings })),
        stands.filter((alert) => !isOff(alert, { settings })),
      ];
      const ends = [
        ...on
          .filter(({ key }) => !wrong.has(key) && !isUnknown(key, failed))
          .map((alert) => endOf(alert, 'it is not so any more')),
        ...(endsOff ? off : []).map((alert) => endOf(alert, 'the rule is off')),
      ];
      const news = conditions.filter(({ key, severity }) => standing.get(key) !== severity).sort(worstFirst);
      const wished = [...ends, ...news.map(beginningOf)];
      const afforded = affordable(wished, spent, nowMs);
      ({ spent } = afforded);
      await Promise.all(afforded.words.map(({ statement }) => ledger.record(statement)));
      endsOff = endsOff && afforded.words.length < wished.length;
    },
  };
}

function endOf({ key, node }: Alert, reason: string) {
  return { node, statement: { kind: 'alert.resolved', body: { key, reason } } } as const;
}

function beginningOf({ key, severity, summary, node }: Condition) {
  return { node, statement: { kind: 'alert.raised', body: { key, severity, summary, node } } } as const;
}

function worstFirst(a: Condition, b: Condition): number {
  return alertSeverities.indexOf(b.severity) - alertSeverities.indexOf(a.severity);
}
