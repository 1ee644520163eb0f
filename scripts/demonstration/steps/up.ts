import { join } from 'node:path';
import { type RunningCollector, startCollector } from '../../../test/system.ts';
import { type Api, apiOf, type EntryItem, type NodeItem } from '../api.ts';
import type { Engines } from '../engines.ts';
import {
  enrol,
  type Fleet,
  fleetOf,
  linkTo,
  type Member,
  makeManifest,
  memberOf,
  nodes,
  type Prepared,
  prepareNode,
  startAgent,
  wantedRoles,
} from '../fleet.ts';
import { found, type Look, observe } from '../observe.ts';
import type { Screen } from '../screen.ts';
import type { Facts } from './step.ts';

export const upTitle = 'The system comes up';

interface Reporting {
  readonly member: Member;
  readonly fact: Readonly<Record<string, unknown>>;
}

/** Starts everything, and sees every node's first report in the ledger, verified by the node, and all in order. */
export async function bringUp(
  { dir, engines }: { readonly dir: string; readonly engines: Engines },
  screen: Screen,
): Promise<{ readonly fleet: Fleet; readonly facts: Facts }> {
  const since = performance.now();
  const manifest = makeManifest(dir);
  const serving = serve(join(dir, 'collector'), manifest);
  const { collector, afterMs } = await screen.during('PostgreSQL and collector', serving);
  screen.seen('PostgreSQL and collector', afterMs, collector.url);
  const lyraLink = await linkTo(collector);
  const preparing = Promise.all(nodes.map((node) => prepareNode(node, dir, engines, manifest)));
  screen.cause(
    `each node gets ${wantedRoles.length} containers, a sigil store with a writer of its own, and joins the collector`,
  );
  const prepared = await screen.during('containers, sigil stores and their writers', preparing);
  const urlFor = (node: string) => (node === 'lyra' ? `http://127.0.0.1:${lyraLink.port}` : collector.url);
  const joining = prepared.map((node) => joinFleet(collector, node, urlFor(node.node), screen));
  const reporting = await screen.during('nodes enrol and report', Promise.all(joining));
  const api = apiOf(collector);
  const order = await screen.during('everything as it should be', seeOrder(api));
  screen.seen(
    'everything in order',
    order.afterMs,
    `on each node ${wantedRoles.length} containers and a sigil store, no drift, no finding`,
  );
  const facts = {
    seen_after_ms: Math.round(performance.now() - since),
    collector_url: collector.url,
    collector_after_ms: afterMs,
    nodes: reporting.map(({ fact }) => fact),
  };
  const members = reporting.map(({ member }) => member);
  return { fleet: fleetOf(collector, lyraLink, members), facts };
}

async function serve(dir: string, manifest: string): Promise<{ collector: RunningCollector; afterMs: number }> {
  const since = performance.now();
  const collector = await startCollector({ dir, env: { SIGILWATCH_MANIFEST_REPOSITORY: manifest } });
  const { ledgerSize } = apiOf(collector);
  const expected = 'the collector answers /api/v1/stats';
  const { afterMs } = await observe({ expected, since, look: async () => ({ seen: await ledgerSize() }) });
  return { collector, afterMs };
}

async function joinFleet(
  collector: RunningCollector,
  prepared: Prepared,
  collectorUrl: string,
  screen: Screen,
): Promise<Reporting> {
  const { node } = prepared;
  const { fingerprint } = await enrol(collector, prepared, collectorUrl);
  const since = performance.now();
  const agent = await startAgent(prepared);
  const member = memberOf(prepared, agent);
  const { value: report, afterMs } = await observe({
    expected: `the first report of ${node} is in the ledger, and its agent has verified the proof`,
    since,
    look: () => firstVerifiedReport(apiOf(collector), member),
  });
  screen.seen(`${node}: first verified report`, afterMs, `entry ${report.index}, key ${fingerprint.slice(0, 22)}…`);
  return { member, fact: { node, fingerprint, report_index: report.index, report_after_ms: afterMs } };
}

/** An agent counts an entry as acknowledged only after it has verified the proof that the ledger holds it. */
async function firstVerifiedReport(api: Api, { node, agent }: Member): Promise<Look<EntryItem>> {
  const report = await api.firstReport(node);
  if (report === undefined) return { evidence: { reports: 0, agent_log: agent.logs().slice(-5) } };
  const { link } = await agent.status();
  return found(link.ackedSeq >= report.seq ? report : undefined, { report, link });
}

function seeOrder(api: Api) {
  const since = performance.now();
  return observe({
    expected: 'every node reports its containers, no drift, and a sigil store without findings',
    since,
    look: async () => {
      const items = await api.nodes();
      return found(items.length === nodes.length && items.every(inOrder) ? items : undefined, items);
    },
  });
}

function inOrder({ coverage, containers, open_drifts, stores }: NodeItem): boolean {
  const storesOk = stores?.length === 1 && stores.every(({ status }) => status === 'ok');
  return coverage === 'observed' && containers === wantedRoles.length && open_drifts === 0 && storesOk;
}
