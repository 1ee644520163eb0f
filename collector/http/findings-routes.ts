import { count } from '../../common/fields.ts';
import type { SigilFinding } from '../../common/sigil.ts';
import { findingList } from '../api/fleet-contract.ts';
import type { Queryable } from '../postgres/pool.ts';
import { type FindingRow, listFindings } from '../postgres/query-store.ts';
import { type Paging, page } from './paging.ts';
import type { Serve } from './serving.ts';

const paging: Paging<FindingRow, number, ReturnType<typeof shown>> = {
  list: 'findings',
  key: count,
  keyOf: ({ opened_index }) => opened_index,
  show: shown,
};

function shown({ finding, ...row }: FindingRow) {
  return { ...row, finding: findingView(finding) };
}

/** What a node has found, with names as everything else has them. */
export function findingView({ keyRange, ...finding }: SigilFinding) {
  return { ...finding, key_range: keyRange };
}

export function addFindingsRoutes(serve: Serve, db: Queryable): void {
  serve.json(findingList, async ({ query: { node, store, check, state, from, to, ...rest } }) => {
    const filter = { node, store, check, state, from, to };
    return page(paging, rest, (at) => listFindings(db, filter, at));
  });
}
