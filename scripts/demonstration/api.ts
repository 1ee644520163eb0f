import { z } from 'zod';
import type { RunningCollector } from '../../test/system.ts';

/*
 * What the demo reads of the collector's HTTP API; members it does not need are left out.
 */

const nodeItem = z.object({
  node: z.string(),
  report_index: z.number().nullable(),
  coverage: z.string().nullable(),
  containers: z.number().nullable(),
  open_drifts: z.number().nullable(),
  stores: z.array(z.object({ store: z.string(), status: z.string(), open_findings: z.number() })).nullable(),
});

const driftItem = z.object({
  opened_index: z.number(),
  kind: z.string(),
  container: z.string(),
  differences: z.array(
    z.object({ field: z.string(), desired: z.string().nullable(), observed: z.string().nullable() }),
  ),
});

const findingItem = z.object({
  opened_index: z.number(),
  check: z.string(),
  finding: z.object({
    key: z.string().nullable(),
    file: z.string().nullable(),
    offset: z.number().nullable(),
    key_range: z.object({ from: z.string(), to: z.string() }).nullable(),
    detail: z.string(),
  }),
});

const entryItem = z.object({
  index: z.number(),
  author: z.string(),
  seq: z.number(),
  kind: z.string(),
  entry_hash: z.string(),
  entry: z.object({ prev: z.string(), body: z.record(z.string(), z.unknown()) }),
});

const orderItem = z.object({
  index: z.number(),
  hash: z.string(),
  container: z.string(),
  action: z.string(),
  status: z.string(),
});

const resultBody = z.object({ evidence: z.object({ sha256: z.string() }) });

const stats = z.object({ ledger: z.object({ size: z.number() }) });

export type NodeItem = z.infer<typeof nodeItem>;
export type EntryItem = z.infer<typeof entryItem>;
export type Api = ReturnType<typeof apiOf>;

/** Typed reads of the collector's HTTP API. */
export function apiOf({ api, list }: Pick<RunningCollector, 'api' | 'list'>) {
  return {
    nodes: () => list('/api/v1/nodes', nodeItem),
    openDrifts: (node: string) => list(`/api/v1/drifts?node=${node}&state=open`, driftItem),
    openFindings: (node: string) => list(`/api/v1/findings?node=${node}&state=open`, findingItem),
    /** All entries of one author, oldest first. */
    entries: async (author: string) => (await list(`/api/v1/entries?author=${author}&limit=1000`, entryItem)).reverse(),
    newest: async (author: string) => {
      const page = await api(`/api/v1/entries?author=${author}&limit=1`, z.object({ items: z.array(entryItem) }));
      return page.items[0];
    },
    /** The oldest report of one author. */
    firstReport: async (author: string) =>
      (await list(`/api/v1/entries?author=${author}&kind=report&limit=1000`, entryItem)).at(-1),
    orders: (node: string) => list(`/api/v1/orders?node=${node}`, orderItem),
    /** The digest of the evidence, as the node has put it on record with the result of the order. */
    executed: async (hash: string) => {
      const results = await list('/api/v1/entries?kind=order.result&limit=1000', entryItem);
      const { data } = resultBody.safeParse(
        results.find(({ entry: { body } }) => body.order === hash && body.outcome === 'executed')?.entry.body,
      );
      return data?.evidence.sha256;
    },
    ledgerSize: async () => (await api('/api/v1/stats', stats)).ledger.size,
  };
}
