import { z } from 'zod';
import { nodeName } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';

/** What stands for the name of a node. */
export const nodePlaceholder = '{node}';

const host = String.raw`(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)`;
const targetPattern = new RegExp(`^${host}:[0-9]{1,5}$`, 'i');

/** `host:port`, as Prometheus takes it. */
function isTarget(text: string): boolean {
  return targetPattern.test(text) && Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535;
}

const target = z.string().max(limits.maxTargetChars).refine(isTarget, 'an address such as 10.0.0.11:7601');

/** Where Prometheus finds the agents. Never what an agent says: it could name somebody else. */
export const monitoringSettings = z.strictObject({
  agentTarget: z
    .string()
    .max(limits.maxTargetChars)
    .refine((text) => isTarget(text.replaceAll(nodePlaceholder, 'node')), 'an address such as {node}:7601')
    .default(`${nodePlaceholder}:7601`)
    .describe('Address of the metrics of every agent, for /sd/prometheus; {node} stands for its name'),
  agentTargets: z
    .record(nodeName, target)
    .refine((targets) => Object.keys(targets).length <= limits.maxTargets, `at most ${limits.maxTargets} targets`)
    .default({})
    .describe('The same for nodes that are reached in another way, by name'),
});

export type MonitoringSettings = z.output<typeof monitoringSettings>;
