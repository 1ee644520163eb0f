import { reasonOf } from './failure.ts';
import type { NodeOutcome } from './node.ts';

export interface DeployedNode {
  readonly node: string;
  readonly seconds: number;
  readonly outcome: NodeOutcome;
}

export interface Deployed {
  readonly collector: { readonly url: string; readonly version: string };
  readonly nodes: readonly DeployedNode[];
}

/** One line a step: since when, who, what. */
export function progress(
  names: readonly string[],
  write: (text: string) => void,
): (name: string, step: string) => void {
  const startedMs = performance.now();
  const width = Math.max(...names.map((name) => name.length));
  return (name, step) => {
    const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1);
    write(`${seconds.padStart(6)} s  ${name.padEnd(width)}  ${step}\n`);
  };
}

export function deployedJson({ collector, nodes }: Deployed): string {
  const items = nodes.map(({ node, seconds, outcome }) => {
    const { state } = outcome;
    if (state === 'failed') return { node, seconds, state, reason: outcome.reason };
    if (state === 'rolled-back') return { node, seconds, state, version: outcome.version, reason: outcome.reason };
    const { version, fingerprint } = outcome;
    return { node, seconds, state, version, fingerprint, report_index: state === 'up' ? outcome.reportIndex : null };
  });
  return `${JSON.stringify({ collector, nodes: items })}\n`;
}

/** Of a collector that could not be brought up: no node has been touched then. */
export function undeployedJson(thrown: unknown): string {
  return `${JSON.stringify({ collector: { state: 'failed', reason: reasonOf(thrown) }, nodes: [] })}\n`;
}

export function deployedText({ collector, nodes }: Deployed): string {
  const count = nodes.filter(isUp).length;
  const bad = nodes.filter((one) => !isUp(one)).map(({ node, outcome }) => `${node} ${outcome.state}`);
  const rest = bad.length === 0 ? '' : `; ${bad.join(', ')}`;
  return `${count} of ${nodes.length} nodes are up with the collector ${collector.version} at ${collector.url}${rest}\n`;
}

export function isUp({ outcome }: DeployedNode): boolean {
  return outcome.state === 'up' || outcome.state === 'installed';
}
