import { isAtLeast } from './alert.ts';
import type { Alert } from './standing.ts';

/** While an alert whose key begins with `by` stands, those whose keys begin with one of `of` are not told. */
interface Inhibition {
  readonly by: string;
  readonly of: readonly string[];
  /** `node`: only those of the node that stands next in both keys. `fleet`: those of all nodes. */
  readonly within: 'node' | 'fleet';
}

/**
 * What follows from what. A node that is silent reports nothing, so nothing that rests on its reports is news; where the engine does not
 * answer, nothing that runs there is seen; drifts after a commit that is frozen are what it was frozen for.
 */
export const inhibitions: readonly Inhibition[] = [
  {
    by: 'node.silent/',
    of: ['engine.down/', 'clock.suspect/', 'sigils.', 'drift.', 'coverage.lost/', 'disk.low/', 'integrity.'],
    within: 'node',
  },
  { by: 'engine.down/', of: ['drift.'], within: 'node' },
  { by: 'enforcement.frozen/', of: ['drift.'], within: 'fleet' },
];

type Known = Pick<Alert, 'key' | 'worst'>;

/** Alerts that stand and that others may follow from, found by their keys. */
export interface Inhibitors {
  readonly byKey: ReadonlyMap<string, Known>;
  /** Those that count for all nodes, by how their keys begin. */
  readonly ofFleet: ReadonlyMap<string, readonly Known[]>;
}

/** @param standing all alerts that stand; those that are told to nobody count too. */
export function inhibitorsAmong(standing: Iterable<Known>): Inhibitors {
  const byKey = new Map<string, Known>();
  const ofFleet = new Map<string, Known[]>();
  for (const alert of standing) {
    const rule = inhibitions.find(({ by }) => alert.key.startsWith(by));
    if (rule?.within === 'node') byKey.set(alert.key, alert);
    if (rule?.within === 'fleet') ofFleet.set(rule.by, [...(ofFleet.get(rule.by) ?? []), alert]);
  }
  return { byKey, ofFleet };
}

/**
 * The key of an alert that stands and that this one follows from; undefined when there is none. One that was less bad holds nothing back:
 * a channel may be told only of what is worse, and would hear of neither.
 */
export function inhibitorOf({ key, worst }: Known, { byKey, ofFleet }: Inhibitors): string | undefined {
  const rules = inhibitions.filter(({ of }) => of.some((prefix) => key.startsWith(prefix)));
  const causes = rules.flatMap(({ by, within }): readonly (Known | undefined)[] =>
    within === 'fleet' ? (ofFleet.get(by) ?? []) : [byKey.get(`${by}${nodeIn(key)}`)],
  );
  return causes.find((cause) => cause !== undefined && isAtLeast(cause.worst, worst))?.key;
}

/** `node2` of `sigils.findings/node2/main`. */
function nodeIn(key: string): string {
  return key.split('/', 2)[1] ?? '';
}
