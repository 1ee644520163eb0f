import type { Body } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Severity } from './alert.ts';
import type { AlertKey } from './catalog.ts';

/** What the ledger says of a node that may write to it. */
export interface NodeFacts {
  readonly node: string;
  /** When its last entry was received, or else when it was enrolled: Unix milliseconds by the collector's clock. */
  readonly heardAtMs: number;
  /** Of its last report; null when it has made none. */
  readonly report: Pick<Body<'report'>, 'coverage' | 'stores'> | null;
}

/** Something about a node that a person has to know of, for as long as it is so. */
export interface Condition {
  readonly key: AlertKey;
  readonly severity: Severity;
  readonly summary: string;
  readonly node: string;
}

/** How the keys of all conditions begin: what stands under another key was raised by somebody else. */
export const conditionKeys = [
  'node.silent/',
  'engine.down/',
  'clock.suspect/',
  'sigils.findings/',
  'sigils.unreadable/',
] as const;

/**
 * Everything that is wrong with a node now. Of one that is silent nothing else is known any more: what stood goes on standing.
 * @param since when somebody began to listen, Unix milliseconds: before that, nobody could have been heard.
 */
export function conditionsOf(
  facts: NodeFacts,
  { nowMs, sinceMs }: { nowMs: number; sinceMs: number },
): readonly Condition[] {
  const { node, report } = facts;
  const silentMs = nowMs - Math.max(facts.heardAtMs, sinceMs);
  const silent: Condition[] =
    silentMs < limits.alertNodeSilentMs
      ? []
      : [
          {
            ...{ key: `node.silent/${node}`, severity: 'error', node },
            summary: `${node} is not heard any more, so nothing that happens there is known: its agent, the network or the machine is down`,
          },
        ];
  return [...silent, ...coverageConditions(node, report), ...storeConditions(node, report)];
}

function coverageConditions(node: string, report: NodeFacts['report']): readonly Condition[] {
  switch (report?.coverage) {
    case 'engine-down': {
      const summary = `the container engine of ${node} does not answer its agent: what runs there is not known`;
      return [{ key: `engine.down/${node}`, severity: 'error', summary, node }];
    }
    case 'clock-suspect': {
      const summary = `the clock of ${node} was set or runs wrong: what its agent says of times is in doubt`;
      return [{ key: `clock.suspect/${node}`, severity: 'warning', summary, node }];
    }
    default:
      return [];
  }
}

function storeConditions(node: string, report: NodeFacts['report']): readonly Condition[] {
  return (report?.stores ?? []).flatMap(({ store, status, openFindings, error }): Condition[] => {
    if (status === 'unreadable') {
      const summary = `sigil store ${store} on ${node} cannot be checked: ${error ?? 'its agent does not say why'}`;
      return [{ key: `sigils.unreadable/${node}/${store}`, severity: 'error', summary: cut(summary), node }];
    }
    if (openFindings === 0) return [];
    const findings = openFindings === 1 ? 'a finding' : `${openFindings} findings`;
    const summary = `sigil store ${store} on ${node} has ${findings}; "sigilwatch-collector fleet show --node ${node}" lists what fails`;
    return [{ key: `sigils.findings/${node}/${store}`, severity: 'critical', summary, node }];
  });
}

function cut(text: string): string {
  return text.slice(0, limits.maxOwnTextChars).toWellFormed();
}
