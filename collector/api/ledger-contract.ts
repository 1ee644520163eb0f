import { z } from 'zod';
import { nodeName } from '../../common/fields.ts';
import { kinds } from '../../common/kinds.ts';
import { contract, contradictable, moment, pageOf } from './contract.ts';
import { filterTime, pageParameters } from './fields.ts';

export const entry = z
  .object({
    index: z.int(),
    author: z.string(),
    seq: z.int(),
    kind: z.string(),
    at: moment.describe("by the author's clock"),
    received_at: moment.nullable(),
    entry_hash: z.string(),
    leaf_hash: z.string(),
    signature: z.string().nullable(),
    entry: z
      .unknown()
      .describe('the statement as its author signed it, names included; null once its body has been dropped'),
  })
  .meta({ id: 'Entry' });

export const entryList = contract({
  operation: 'entries.list',
  method: 'get',
  path: '/api/v1/entries',
  permission: 'ledger.read',
  summary: 'Entries of the ledger, newest first; with from or to in the order of their own time',
  query: z.strictObject({
    ...pageParameters,
    author: nodeName.optional(),
    kind: z.enum(kinds).optional(),
    from: filterTime.optional(),
    to: filterTime.optional(),
  }),
  answers: { 200: pageOf(entry) },
});

const plain = ['text/plain'];

export const logCheckpoint = contract({
  operation: 'log.checkpoint',
  method: 'get',
  path: '/log/checkpoint',
  permission: 'log.read',
  rate: 'none',
  summary: 'The newest checkpoint, with the cosignatures of its witnesses (C2SP tlog-tiles)',
  answers: { 200: { media: plain, description: 'a signed note' } },
});

export const logTile = contract({
  operation: 'log.tile',
  method: 'get',
  path: '/log/tile/:path{.+}',
  permission: 'log.read',
  rate: 'none',
  summary: 'A tile of hashes, <L>/<N>[.p/<W>], or a bundle of entries, entries/<N>[.p/<W>] (C2SP tlog-tiles)',
  params: z.object({ path: z.string() }),
  answers: { 200: { media: ['application/octet-stream'], description: 'the tile' } },
});

export const logPolicy = contract({
  operation: 'log.policy',
  method: 'get',
  path: '/log/policy.txt',
  permission: 'log.read',
  rate: 'none',
  summary: 'Whom to believe about this ledger (C2SP tlog-policy)',
  answers: { 200: { media: plain, description: 'a trust policy' } },
});

export const witnessPins = contract({
  operation: 'witnesses.pins',
  method: 'get',
  path: '/api/v1/witnesses/pins',
  permission: 'ledger.read',
  summary: 'The keys that active nodes cosign with, as a manifest pins them; compare each with what its node shows',
  answers: {
    200: z.object({
      witnesses: z.object({
        nodes: z.array(z.object({ name: z.string(), key: z.string().describe('a verifier key (C2SP signed-note)') })),
      }),
      ...contradictable,
    }),
  },
});

export const witnessList = contract({
  operation: 'witnesses.list',
  method: 'get',
  path: '/api/v1/witnesses',
  permission: 'ledger.read',
  summary: 'Every witness with what it cosigned last, the quorum, and what it does not cover yet',
  answers: {
    200: z.object({
      quorum: z.object({
        rule: z.union([z.string(), z.number()]),
        required: z.int().nullable(),
        of: z.int(),
        problem: z.string().nullable(),
      }),
      ledger_size: z.int(),
      witnessed_size: z.int(),
      unwitnessed: z.object({ from: z.int(), to: z.int(), since: moment }).nullable(),
      witnesses: z.array(
        z.object({
          name: z.string(),
          kind: z.string(),
          key: z.string(),
          url: z.string().nullable(),
          last_size: z.int().nullable(),
          last_at: moment.nullable(),
        }),
      ),
      ...contradictable,
    }),
  },
});
