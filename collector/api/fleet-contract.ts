import { z } from 'zod';
import { hex64, nodeName, ownText } from '../../common/fields.ts';
import { sigilChecks, sigilFinding } from '../../common/sigil.ts';
import { contract, contradictable, moment, pageOf } from './contract.ts';
import { fieldDifference } from './drifts-contract.ts';
import { filterText, filterTime, pageParameters } from './fields.ts';

/*
 * What the nodes have told: themselves, their containers, what was found in their sigil stores.
 */

const storeSummaries = z.unknown().describe('sigil stores, as the last report tells of them');

export const node = z
  .object({
    node: z.string(),
    fingerprint: z.string().describe('of the key that it signs with'),
    state: z.enum(['active', 'revoked']),
    enrolled_at: moment,
    enrolled_index: z.int(),
    revoked_at: moment.nullable(),
    agent_version: z.string().nullable(),
    hostname: z.string().nullable(),
    started_at: moment.nullable(),
    last_index: z.int().nullable(),
    last_entry_at: moment.nullable(),
    report_index: z.int().nullable(),
    report_minute: moment.nullable(),
    coverage: z.string().nullable(),
    containers: z.int().nullable(),
    unobserved: z.int().nullable(),
    open_drifts: z.int().nullable(),
    stores: storeSummaries,
    commit: z.string().nullable(),
    collector: z
      .string()
      .nullable()
      .describe('host and port of the one that holds its connection at this moment; null while it is cut off'),
  })
  .meta({ id: 'Node' });

export const nodeList = contract({
  operation: 'nodes.list',
  method: 'get',
  path: '/api/v1/nodes',
  permission: 'fleet.read',
  summary: 'All nodes that were ever enrolled, by name',
  query: z.strictObject({ ...pageParameters, state: z.enum(['active', 'revoked', 'all']).default('all') }),
  answers: { 200: pageOf(node) },
});

const named = z.object({ node: nodeName });

export const nodeToken = contract({
  operation: 'nodes.token',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/nodes/:node/token',
  permission: 'nodes.manage',
  summary: 'Make a single-use join token for a node',
  params: named,
  // What is kept could be read by whoever has the database.
  idempotency: false,
  answers: {
    201: z.object({
      node: z.string(),
      token: z.string().describe('shown only now'),
      expires_at: moment,
      log_fingerprint: z.string().describe("of the log's key, to be compared on the node"),
    }),
  },
});

export const nodeRevoke = contract({
  operation: 'nodes.revoke',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/nodes/:node/revoke',
  permission: 'nodes.manage',
  summary: 'End the trust in the key of a node, at once',
  params: named,
  body: z.strictObject({ reason: ownText }),
  bodyIs: 'a revocation',
  answers: { 200: z.object({ node: z.string(), fingerprint: z.string(), revoked: z.literal(true) }) },
});

const containerFields = {
  id: hex64,
  name: z.string(),
  image: z.string(),
  image_id: z.string(),
  state: z.string(),
  health: z.string(),
  exit_code: z.int(),
  restart_count: z.int(),
  created_at: z.string(),
  started_at: z.string().nullable(),
  finished_at: z.string().nullable(),
  seen_index: z.int(),
};

export const container = z.object({ node: z.string(), ...containerFields }).meta({ id: 'Container' });

export const containerList = contract({
  operation: 'containers.list',
  method: 'get',
  path: '/api/v1/containers',
  permission: 'fleet.read',
  summary: 'Containers as they were observed last, by node and id',
  query: z.strictObject({
    ...pageParameters,
    node: nodeName.optional(),
    name: filterText.optional(),
    image: filterText.optional(),
    state: filterText.optional(),
  }),
  answers: { 200: pageOf(container) },
});

const { keyRange, ...findingFields } = sigilFinding.shape;

/** The failed check, as its node signed it. */
const findingDetails = z.object({ ...findingFields, key_range: keyRange });

export const finding = z
  .object({
    opened_index: z.int(),
    node: z.string(),
    store: z.string(),
    id: z.string(),
    check: z.string(),
    finding: findingDetails,
    state: z.enum(['open', 'resolved']),
    opened_at: moment,
    cleared_at: moment.nullable(),
    cleared_index: z.int().nullable(),
  })
  .meta({ id: 'Finding' });

export const findingList = contract({
  operation: 'findings.list',
  method: 'get',
  path: '/api/v1/findings',
  permission: 'fleet.read',
  summary: 'Failed checks of sigils and of the files they are in, newest first',
  query: z.strictObject({
    ...pageParameters,
    node: nodeName.optional(),
    store: filterText.optional(),
    check: z.enum(sigilChecks).optional(),
    state: z.enum(['open', 'resolved', 'all']).default('all'),
    from: filterTime.optional(),
    to: filterTime.optional(),
  }),
  answers: { 200: pageOf(finding) },
});

const fleetNode = z.object({
  node: z.string(),
  state: z.enum(['active', 'revoked']),
  fingerprint: z.string(),
  enrolled_at: z.string(),
  enrolled_index: z.int(),
  revoked_at: z.string().nullable(),
  last: z.object({ index: z.int(), at: z.string() }).nullable(),
  agent: z.object({ index: z.int(), version: z.string(), hostname: z.string(), started_at: z.string() }).nullable(),
  report: z
    .object({
      index: z.int(),
      minute: z.string(),
      coverage: z.string(),
      containers: z.int(),
      unobserved: z.int(),
      open_drifts: z.int(),
      stores: storeSummaries,
      commit: z.string().nullable(),
    })
    .nullable(),
  containers: z.array(z.object(containerFields)),
  drifts: z.array(
    z.object({
      opened_index: z.int(),
      opened_at: z.string(),
      changed_index: z.int(),
      id: z.string(),
      kind: z.string(),
      container: z.string(),
      container_id: z.string().nullable(),
      differences: z.array(fieldDifference),
      commit: z.string().nullable(),
    }),
  ),
  findings: z.array(
    z.object({
      opened_index: z.int(),
      opened_at: z.string(),
      id: z.string(),
      store: z.string(),
      check: z.string(),
      finding: findingDetails,
    }),
  ),
});

export const fleetShow = contract({
  operation: 'fleet.show',
  method: 'get',
  path: '/api/v1/fleet',
  permission: 'fleet.read',
  summary: 'Nodes with containers, open drifts and findings: now, or as the ledger knew them at a moment',
  query: z.strictObject({
    ...pageParameters,
    node: nodeName.optional(),
    at: filterTime.optional().describe('at this time'),
    size: z
      .string()
      .regex(/^[0-9]{1,15}$/, 'a number of entries')
      .transform(Number)
      .pipe(z.int())
      .optional()
      .describe('after the first so many entries'),
  }),
  answers: {
    200: z.object({
      as_of: z
        .object({ size: z.int(), received_at: moment, root: z.string(), source: z.enum(['projections', 'entries']) })
        .describe('the moment: the present is read from the projections, every past from the entries'),
      ...pageOf(fleetNode).shape,
      ...contradictable,
    }),
  },
});
