import type { Body } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { frozenAlertKey } from '../enforcement/freeze.ts';
import { isAtLeast } from './alert.ts';
import { driftAlerts } from './rules/drift.ts';
import type { Alert } from './standing.ts';

/** While an alert whose key begins with `by` stands, those whose keys begin with one of `of` are not told. */
interface Inhibition {
  readonly by: string;
  readonly of: readonly string[];
  /** `node`: only those of the node that stands next in both keys. `freeze`: drifts of the kind and the nodes that the commit was frozen for. */
  readonly within: 'node' | 'freeze';
}

/**
 * What follows from what. A node that is silent reports nothing, so nothing that rests on its reports is news; where the engine does not
 * answer, nothing that runs there is seen; drifts that a commit was frozen for are told with it.
 */
export const inhibitions: readonly Inhibition[] = [
  {
    by: 'node.silent/',
    of: ['engine.down/', 'clock.suspect/', 'sigils.', 'drift.', 'coverage.lost/', 'disk.low/', 'integrity.'],
    within: 'node',
  },
  { by: 'engine.down/', of: ['drift.'], within: 'node' },
  { by: 'enforcement.frozen/', of: ['drift.'], within: 'freeze' },
];

type Known = Pick<Alert, 'key' | 'worst'>;

/** What a commit was frozen for, as it is on record. */
export type Freeze = Pick<Body<'enforcement.frozen'>, 'commit' | 'drift' | 'nodes'>;

/** Alerts that stand and that others may follow from, found by their keys. */
export interface Inhibitors {
  readonly byKey: ReadonlyMap<string, Known>;
  /** Of frozen commits, with what each was frozen for. */
  readonly frozen: readonly { readonly alert: Known; readonly freeze: Freeze }[];
}

/**
 * @param standing all alerts that stand; those that are told to nobody count too.
 * @param freezes those in force. An alert of which nobody knows what was frozen holds nothing back.
 */
export function inhibitorsAmong(standing: Iterable<Known>, freezes: readonly Freeze[]): Inhibitors {
  const byKey = new Map<string, Known>();
  const frozen: { alert: Known; freeze: Freeze }[] = [];
  for (const alert of standing) {
    const rule = inhibitions.find(({ by }) => alert.key.startsWith(by));
    if (rule?.within === 'node') byKey.set(alert.key, alert);
    const freeze = freezes.find(({ commit }) => alert.key === frozenAlertKey(commit));
    if (freeze !== undefined) frozen.push({ alert, freeze });
  }
  return { byKey, frozen };
}

/**
 * The key of an alert that stands and that this one follows from; undefined when there is none. One that was less bad holds nothing back:
 * a channel may be told only of what is worse, and would hear of neither.
 */
export function inhibitorOf({ key, worst }: Known, { byKey, frozen }: Inhibitors): string | undefined {
  const rules = inhibitions.filter(({ of }) => of.some((prefix) => key.startsWith(prefix)));
  const causes = rules.flatMap(({ by, within }): readonly (Known | undefined)[] =>
    within === 'freeze'
      ? frozen.filter(({ freeze }) => isFrozenFor(key, freeze)).map(({ alert }) => alert)
      : [byKey.get(`${by}${nodeIn(key)}`)],
  );
  return causes.find((cause) => cause !== undefined && isAtLeast(cause.worst, worst))?.key;
}

/** Where there were more nodes than are named, those that are not named were among them. */
function isFrozenFor(key: string, { drift, nodes }: Freeze): boolean {
  const areAllNamed = nodes.length < limits.maxFrozenNodesNamed;
  return key.startsWith(`${driftAlerts[drift]}/`) && (!areAllNamed || nodes.includes(nodeIn(key)));
}

/** `node2` of `sigils.findings/node2/main`. */
function nodeIn(key: string): string {
  return key.split('/', 2)[1] ?? '';
}
