import pLimit from 'p-limit';
import { z } from 'zod';
import type { ProgramPackage } from '../packaging/programs.ts';
import { type CollectorScriptName, collectorScript, type Values } from './scripts.ts';
import type { Remote } from './ssh.ts';

const token = z.object({ token: z.string(), log_fingerprint: z.string() });

const row = z.object({
  node: z.string(),
  state: z.enum(['active', 'revoked']),
  fingerprint: z.string(),
  agent_version: z.string().nullable(),
  last_index: z.int().nullable(),
  report_index: z.int().nullable(),
});
const rows = z.object({ items: z.array(row) });
const starts = z.object({ items: z.array(z.object({ index: z.int() })) });

export type JoinToken = z.infer<typeof token>;

/** A node as the collector knows it. */
export type NodeRow = z.infer<typeof row> & {
  /** Index of the entry by which it said that it started, the last time. */
  readonly startIndex: number | undefined;
};

/** What is asked of the collector, by its own commands on its own machine. */
export interface CollectorSide {
  run(name: CollectorScriptName, values?: Values): Promise<string>;
  /** Good for one node, once. */
  token(node: string): Promise<JoinToken>;
  row(node: string): Promise<NodeRow | undefined>;
  /** Whether an entry is in the ledger, by a proof that was written and checked. */
  isProved(index: number): Promise<boolean>;
}

/** Commands at a time: each opens the database for itself. */
const atOnce = 2;

export function collectorSide(remote: Remote, program: ProgramPackage): CollectorSide {
  const limit = pLimit(atOnce);
  const run = (name: CollectorScriptName, values: Values = {}) =>
    limit(async () => remote.run(await collectorScript(program, name, values)));
  return {
    run,
    token: async (node) => token.parse(JSON.parse(await run('token', { node }))),
    row: async (node) => {
      const [listed = '', started = ''] = (await run('row', { node })).split('\n');
      const found = rows.parse(JSON.parse(listed)).items.find((one) => one.node === node);
      const [start] = starts.parse(JSON.parse(started)).items;
      return found === undefined ? undefined : { ...found, startIndex: start?.index };
    },
    isProved: async (index) => {
      const said = await run('prove', { index: String(index) });
      return z.object({ verified: z.boolean() }).parse(JSON.parse(said)).verified;
    },
  };
}
