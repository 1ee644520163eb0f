import { type MonitoringSettings, nodePlaceholder } from './settings.ts';

/** One group of Prometheus' HTTP service discovery. */
export interface TargetGroup {
  /** `host:port`. */
  readonly targets: readonly string[];
  readonly labels: { readonly job: string; readonly node: string };
}

/** The name that rules and dashboards know agents by. */
const agentJob = 'sigilwatch-agent';

/** A group for each node, whose label says which it is. */
export function agentTargets(nodes: readonly string[], settings: MonitoringSettings): TargetGroup[] {
  return nodes.map((node) => ({ targets: [targetOf(node, settings)], labels: { job: agentJob, node } }));
}

function targetOf(node: string, { agentTarget, agentTargets: others }: MonitoringSettings): string {
  const other = Object.hasOwn(others, node) ? others[node] : undefined;
  return other ?? agentTarget.replaceAll(nodePlaceholder, node);
}
