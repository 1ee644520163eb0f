import assert from 'node:assert/strict';
import type { AgentStatus } from '../../agent/health/status.ts';
import { until } from '../until.ts';
import { type Fleet, type FleetNode, running, shown } from './fleet.ts';

/** A link waits up to a minute until it tries again. */
const withinMs = 90_000;

/** Waits for a status that fits; its error shows the last one. */
export async function statusWhere(
  { name, agent }: Pick<FleetNode, 'name' | 'agent'>,
  what: string,
  fits: (status: AgentStatus) => boolean,
  deadlineMs = withinMs,
): Promise<AgentStatus> {
  let last: AgentStatus | undefined;
  const asked = async () => {
    last = await agent.status();
    return fits(last);
  };
  await until(`${name}: ${what}`, asked, deadlineMs).catch((cause: unknown) => {
    throw new Error(`${String(cause)}: ${JSON.stringify(last, null, 1)}`);
  });
  assert.ok(last);
  return last;
}

/** Waits until the agent is connected and everything it has said by now is acknowledged. */
export async function caughtUp(node: Pick<FleetNode, 'name' | 'agent'>, deadlineMs = 90_000): Promise<void> {
  const { outbox } = await node.agent.status();
  const done = ({ link }: AgentStatus) => link.state === 'connected' && link.ackedSeq >= outbox.headSeq;
  await statusWhere(node, `connected, and acknowledged up to ${outbox.headSeq}`, done, deadlineMs);
}

/** Waits for an entry of the ledger that fits. */
export async function entryWhere(
  { collector }: Pick<Fleet, 'collector'>,
  { author, kind }: { readonly author: string; readonly kind: string },
  fits: (body: Readonly<Record<string, unknown>>) => boolean = () => true,
): Promise<Readonly<Record<string, unknown>>> {
  let found: Readonly<Record<string, unknown>> | undefined;
  const asked = async () => {
    const rows = await collector.list(`/api/v1/entries?author=${author}&kind=${kind}`, shown.entry);
    found = rows.map(({ entry }) => entry.body).find(fits);
    return found !== undefined;
  };
  await until(`an entry ${kind} of ${author}`, asked, withinMs);
  assert.ok(found);
  return found;
}

let visits = 0;

/** An unauthorized container comes and goes on the node, and the collector hears both. */
export async function goesOn({ collector }: Pick<Fleet, 'collector'>, { name: node, api }: FleetNode): Promise<void> {
  const name = `visitor-${++visits}`;
  const id = await api.run(running(name));
  const drifts = () => collector.list(`/api/v1/drifts?node=${node}&container=${name}`, shown.drift);
  const is = (state: string) => async () => {
    const [drift] = await drifts();
    return drift?.kind === 'UNAUTHORIZED_CONTAINER' && drift.state === state;
  };
  await until(`${node}: ${name} is unauthorized`, is('open'), withinMs);
  await api.remove(id);
  await until(`${node}: ${name} is gone`, is('resolved'), withinMs);
}
