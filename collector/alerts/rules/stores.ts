import { summaryOf } from '../named.ts';
import type { NodeFacts, ReportFacts } from './facts.ts';
import type { Condition, Rule } from './rule.ts';

type Store = ReportFacts['stores'][number];

const findings: Rule = {
  name: 'sigils.findings',
  conditions: ({ nodes }) => eachStore(nodes, findingsOf),
};

const unreadable: Rule = {
  name: 'sigils.unreadable',
  conditions: ({ nodes }) => eachStore(nodes, unreadableOf),
};

export const storeRules: readonly Rule[] = [findings, unreadable];

function eachStore(
  nodes: readonly NodeFacts[],
  judge: (node: string, store: Store) => Condition | undefined,
): readonly Condition[] {
  return nodes.flatMap(({ node, report }) => (report?.stores ?? []).flatMap((store) => judge(node, store) ?? []));
}

function findingsOf(node: string, { store, status, openFindings }: Store): Condition | undefined {
  if (status === 'unreadable' || openFindings === 0) return undefined;
  const count = openFindings === 1 ? 'a finding' : `${openFindings} findings`;
  const summary = `sigil store ${store} on ${node} has ${count}; "sigilwatch-collector fleet show --node ${node}" lists what fails`;
  return { key: `sigils.findings/${node}/${store}`, severity: 'critical', summary: summaryOf(summary), node };
}

function unreadableOf(node: string, { store, status, error }: Store): Condition | undefined {
  if (status !== 'unreadable') return undefined;
  const summary = `sigil store ${store} on ${node} cannot be checked: ${error ?? 'its agent does not say why'}`;
  return { key: `sigils.unreadable/${node}/${store}`, severity: 'error', summary: summaryOf(summary), node };
}
