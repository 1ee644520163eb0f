import fc from 'fast-check';
import { driftKinds } from '../../common/drift-kind.ts';
import { integrityStatuses } from '../../common/integrity-report.ts';
import {
  alertSeverities,
  artifactKinds,
  type Body,
  enforcementActions,
  enforcementOutcomes,
  gapReasons,
  type Kind,
  kinds,
  type Statement,
  scanCoverage,
  scoreParts,
  statementSchema,
} from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { type Lineage, lineageSchema } from '../../common/lineage.ts';
import { containerStates } from '../../common/observed.ts';
import { orderActions, orderOrigins, orderOutcomes } from '../../common/order.ts';
import { sigilChecks } from '../../common/sigil.ts';
import { acceptableChecks } from '../../common/sigil-inventory.ts';

/*
 * Statements of every kind, with the values that hurt: what a schema admits, somebody will send.
 */

/** From ordinary to the largest number that JSON and JavaScript agree on. */
const count = fc.oneof(fc.nat(100), fc.constantFrom(0, 1, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER));
const integer = fc.oneof(fc.integer(), fc.constantFrom(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER));

/** Few different names, so that things meet, and some that are as long or as strange as is allowed. */
const nastyNames = [
  '',
  'nul\0',
  'nul\ufffd',
  '\0'.repeat(limits.maxForeignTextChars),
  '😀'.repeat(limits.maxForeignTextChars / 2),
  '\uffff'.repeat(limits.maxForeignTextChars),
  'a/b',
  'line\nbreak',
  '"quoted\\"',
  '{"json":[1]}',
  "'; drop table entries; --",
  '__proto__',
];
const name = fc.oneof(fc.constantFrom('web', 'api', 'db'), fc.constantFrom(...nastyNames));
const text = fc.oneof(
  name,
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
);
const ownText = fc.oneof(text, fc.constant('\u{1f600}'.repeat(limits.maxOwnTextChars / 2)));
const commit = fc.option(fc.oneof(ownText, fc.constant('f'.repeat(5_000))));

const timestamp = fc.oneof(
  fc.constantFrom('1970-01-01T00:00:00.000Z', '9999-12-31T23:59:59.999Z', '2024-02-29T12:00:00.000Z'),
  fc
    .date({ min: new Date(0), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true })
    .map((date) => date.toISOString()),
);
const minute = fc.oneof(timestamp, fc.constantFrom('2026-01-01T00:00:00.000Z', '2026-01-01T00:01:00.000Z'));

const hex = (length: number) =>
  fc.oneof(
    fc.constantFrom('0'.repeat(length), 'a'.repeat(length)),
    fc.uint8Array({ minLength: length / 2, maxLength: length / 2 }).map((bytes) => Buffer.from(bytes).toString('hex')),
  );
const base64 = (bytes: number) =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((raw) => Buffer.from(raw).toString('base64'));
const node = fc.constantFrom('node1', 'node2', 'node3', `n${'x'.repeat(61)}n`);

const container = fc.record({
  id: hex(64),
  name,
  image: text,
  imageId: text,
  state: fc.constantFrom(...containerStates),
  health: fc.constantFrom('none', 'starting', 'healthy', 'unhealthy'),
  exitCode: integer,
  restartCount: integer,
  createdAt: text,
  startedAt: fc.option(text),
  finishedAt: fc.option(text),
});

const drift = fc.record({
  id: name,
  kind: fc.constantFrom(...driftKinds),
  container: name,
  containerId: fc.option(text),
  differences: fc.array(fc.record({ field: text, desired: fc.option(text), observed: fc.option(text) }), {
    maxLength: 3,
  }),
});

const finding = fc.record({
  id: hex(32),
  check: fc.constantFrom(...sigilChecks),
  key: fc.option(text),
  keyRange: fc.option(fc.record({ from: text, to: text })),
  file: fc.option(text),
  offset: fc.option(count),
  expected: fc.option(text),
  actual: fc.option(text),
  detail: text,
});

const differingRow = fc.record({
  problem: fc.constantFrom('missing', 'extra', 'changed'),
  key: fc.record({ node: fc.option(text), id: fc.option(text) }),
  index: fc.option(count),
  columns: fc.array(
    fc.record({ column: fc.constantFrom('state', 'opened_at'), stored: fc.option(text), rebuilt: fc.option(text) }),
    { maxLength: 2 },
  ),
});

const ledgerCheck = fc.record({
  origin: ownText,
  status: fc.constantFrom(...integrityStatuses),
  startedAt: timestamp,
  durationMs: count,
  verified: fc.option(
    fc.record({
      ...{ size: count, root: fc.option(base64(32)), authors: count, batches: count, tiles: count, erased: count },
      ...{ checkpoint: fc.option(count), durationMs: count },
    }),
  ),
  fault: fc.option(fc.record({ fault: fc.constantFrom('head', 'body'), index: fc.option(count), message: ownText })),
  projections: fc.option(
    fc.record({
      ...{ size: count, from: count, durationMs: count },
      tables: fc.array(
        fc.record({
          table: fc.constantFrom('drifts', 'findings'),
          ...{ stored: count, rebuilt: count, differing: count },
          rows: fc.array(differingRow, { maxLength: 2 }),
        }),
        { maxLength: 3 },
      ),
    }),
  ),
  error: fc.option(fc.record({ code: fc.constantFrom('database.unreachable', 'internal.error'), message: ownText })),
});

const storeSummary = fc.record({
  store: text,
  status: fc.constantFrom('ok', 'findings', 'unreadable', 'pending'),
  findingsDigest: hex(64),
  openFindings: count,
  checkedRecords: count,
  error: fc.option(ownText),
});

const rebuilt = fc.record({ containerId: hex(64), name, startedAt: fc.option(text), finishedAt: fc.option(text) });

const orderMembers = {
  node,
  action: fc.constantFrom(...orderActions),
  container: name,
  containerId: fc.option(hex(64)),
  drift: fc.option(fc.record({ id: name, kind: fc.constantFrom(...driftKinds), digest: hex(64) })),
  commit: ownText,
  origin: fc.constantFrom(...orderOrigins),
  by: ownText,
  reason: ownText,
  approvals: fc.nat(limits.maxApprovals),
  issuedAt: timestamp,
  expiresAt: timestamp,
  nonce: hex(32),
  wanted: hex(64),
};
const order = fc.record(orderMembers, {
  requiredKeys: [
    ...(['node', 'action', 'container', 'containerId', 'drift', 'commit', 'origin', 'by', 'reason'] as const),
    ...(['approvals', 'issuedAt', 'expiresAt', 'nonce'] as const),
  ],
});
const approval = fc.record({ approver: ownText, signature: ownText });
const scope = fc.record({
  node: fc.option(node),
  container: fc.option(name),
  kind: fc.option(fc.constantFrom(...driftKinds)),
});
const evidence = fc.record({ sha256: hex(64), bytes: count, imageId: text, changedFiles: count, logBytes: count });

const score = fc.oneof(fc.constantFrom(0, 1, 0.5, 5e-324), fc.double({ min: 0, max: 1, noNaN: true }));
const sha256 = hex(64);
/** With members that are understood, of every form. */
const lineage: fc.Arbitrary<Lineage> = fc
  .dictionary(
    fc.oneof(fc.constantFrom('name', 'image', 'image_id', 'commit', 'builder', 'parents', 'signature'), name),
    fc.oneof(fc.jsonValue({ maxDepth: 3 }), ownText, fc.array(sha256, { maxLength: 3 }), sha256),
    { maxKeys: 6, noNullPrototype: true },
  )
  .map((value) => lineageSchema.safeParse(value).data ?? {});

const bodies: { readonly [K in Kind]: fc.Arbitrary<Body<K>> } = {
  'ledger.created': fc.record({ origin: ownText, collectorKey: base64(32) }),
  'node.enrolled': fc.record({ node, publicKey: base64(32), fingerprint: ownText, agentVersion: ownText }),
  'node.revoked': fc.record({ node, fingerprint: ownText, reason: ownText }),
  'auth.event': fc.record(
    { event: ownText, actor: ownText, subject: ownText, detail: ownText, requestId: fc.string({ maxLength: 64 }) },
    { requiredKeys: ['event', 'actor', 'subject', 'detail'] },
  ),
  'ledger.equivocation': fc.record({
    node,
    seq: count,
    accepted: hex(64),
    offered: hex(64),
    offeredText: fc.option(text),
    offeredSignature: base64(64),
  }),
  'ledger.erased': fc.record({
    from: count,
    to: count,
    entries: count,
    keptBodies: count,
    root: hex(64),
    base: hex(64),
    columns: hex(64),
    exported: fc.option(fc.record({ file: ownText, sha256: hex(64), entries: count })),
    actor: ownText,
    reason: ownText,
  }),
  'order.issued': fc.record({ order }),
  'order.local': fc.record({ order }),
  'order.approved': fc.record({ order: hex(64), approval }),
  'order.rejected': fc.record({ order: hex(64), actor: ownText, reason: ownText }),
  'order.result': fc.record({
    order: hex(64),
    outcome: fc.constantFrom(...orderOutcomes),
    code: fc.option(fc.constantFrom('grace', 'gone')),
    reason: ownText,
    evidence: fc.option(evidence),
    containerId: fc.option(hex(64)),
  }),
  'enforcement.frozen': fc.record({
    commit: ownText,
    drift: fc.constantFrom(...driftKinds),
    nodes: fc.array(node, { maxLength: 4 }),
    reason: ownText,
  }),
  'enforcement.released': fc.record({ commit: ownText, actor: ownText, reason: ownText }),
  'alert.raised': fc.record({
    key: ownText,
    severity: fc.constantFrom(...alertSeverities),
    summary: ownText,
    node: fc.option(node),
  }),
  'alert.resolved': fc.record({ key: ownText, reason: ownText }),
  'enforcement.requested': fc.record({
    ...{ id: hex(64), artifact: hex(64), action: fc.constantFrom(...enforcementActions), target: ownText },
    ...{ reason: ownText, actor: ownText, retryOf: fc.option(hex(64)) },
  }),
  'enforcement.result': fc.record({
    ...{ id: hex(64), outcome: fc.constantFrom(...enforcementOutcomes), txId: fc.option(fc.string({ maxLength: 64 })) },
    ...{ error: fc.option(ownText), attempts: count, trace: hex(64) },
  }),
  'enforcement.resolved': fc.record({ id: hex(64), actor: ownText, reason: ownText }),
  'alert.silenced': fc.record({
    id: hex(64),
    pattern: fc.constantFrom('node.silent/node2', 'sigils.findings/node2/*', 'drift.*'),
    until: timestamp,
    actor: ownText,
    reason: ownText,
  }),
  'alert.unsilenced': fc.record({ id: hex(64), actor: ownText, reason: ownText }),
  'alert.acknowledged': fc.record({ key: ownText, actor: ownText, reason: ownText }),
  'drift.silenced': fc.record({ id: hex(64), scope, until: timestamp, actor: ownText, reason: ownText }),
  'drift.unsilenced': fc.record({ id: hex(64), actor: ownText, reason: ownText }),
  'change.announced': fc.record({ text: ownText, approval }),
  'artifact.registered': fc.record({
    id: sha256,
    name: fc.option(name),
    kind: fc.option(fc.constantFrom(...artifactKinds)),
    lineage,
    driftScore: fc.option(score),
    scorecardScore: fc.option(score),
    actor: ownText,
  }),
  'artifact.scored': fc.record({
    artifact: sha256,
    total: score,
    previous: fc.option(score),
    metric: ownText,
    parts: fc.array(fc.record({ part: fc.constantFrom(...scoreParts), value: fc.option(score), weight: score }), {
      maxLength: 3,
    }),
  }),
  'agent.started': fc.record({ version: ownText, runtime: ownText, hostname: text }),
  report: fc.record(
    {
      minute,
      coverage: fc.constantFrom(...scanCoverage),
      scanMs: count,
      containers: fc.record({ count, unobserved: count, digest: hex(64) }),
      drifts: fc.record({ open: count, digest: hex(64) }),
      stores: fc.array(storeSummary, { maxLength: 3 }),
      commit,
      disk: fc.record({ freeBytes: count, totalBytes: count }),
    },
    // Older agents do not say it.
    { requiredKeys: ['minute', 'coverage', 'scanMs', 'containers', 'drifts', 'stores', 'commit'] },
  ),
  observed: fc.record({
    baseline: fc.boolean(),
    upserted: fc.array(container, { maxLength: 3 }),
    removed: fc.array(hex(64), { maxLength: 3 }),
  }),
  'drift.opened': fc.record({ drift, commit }),
  'drift.changed': fc.record({ drift, commit }),
  'drift.resolved': fc.record({ id: name, commit }),
  'sigil.scan': fc.record({
    store: text,
    mode: fc.constantFrom('incremental', 'full'),
    startedAt: timestamp,
    durationMs: count,
    tables: count,
    blocks: count,
    bytes: count,
    records: count,
    sigils: count,
    findings: count,
  }),
  'ledger.checked': fc.record({
    report: fc.constantFrom('20260101T033000000Z-00000000', '99991231T235959999Z-ffffffff'),
    status: fc.constantFrom(...integrityStatuses),
    startedAt: timestamp,
    finishedAt: timestamp,
    sha256: hex(64),
    check: ledgerCheck,
  }),
  'integrity.report': fc.record({
    report: fc.constantFrom('20260101T020000000Z-00000000', '99991231T235959999Z-ffffffff'),
    status: fc.constantFrom(...integrityStatuses),
    startedAt: timestamp,
    finishedAt: timestamp,
    sha256: fc.option(hex(64)),
    stores: fc.array(
      fc.record({
        store: text,
        status: fc.constantFrom(...integrityStatuses),
        counts: fc.option(fc.record({ tables: count, blocks: count, bytes: count, records: count, sigils: count })),
        findings: count,
      }),
      { maxLength: 3 },
    ),
  }),
  'sigil.finding': fc.record({ store: name, finding }),
  'sigil.cleared': fc.record({ store: name, id: fc.oneof(hex(32), name) }),
  'sigil.accepted': fc.record({
    store: name,
    key: name,
    check: fc.constantFrom(...acceptableChecks),
    finding: fc.oneof(hex(32), name),
    reason: ownText,
  }),
  'desired.adopted': fc.record({ commit: ownText, digest: hex(64), containers: count }),
  'desired.rejected': fc.record({ commit, file: ownText, line: count, column: count, reason: ownText }),
  'coverage.gap': fc.record({
    from: timestamp,
    to: timestamp,
    reason: fc.constantFrom(...gapReasons),
    rebuilt: fc.array(rebuilt, { maxLength: 3 }),
  }),
  'outbox.dropped': fc.record({
    count,
    from: timestamp,
    to: timestamp,
    kinds: fc.dictionary(fc.constantFrom('report', 'nul\0', 'observed'), count),
  }),
  'outbox.recovered': fc.record(
    { reason: ownText, salvaged: count, missing: count, quarantine: ownText },
    { requiredKeys: ['reason', 'salvaged', 'quarantine'] },
  ),
  'witness.fork': fc.record({ held: ownText, offered: ownText, reason: ownText }),
  'witness.gap': fc.record({ fromSize: count, toSize: count, since: timestamp, until: timestamp }),
  'witness.released': fc.record({ evidence: ownText, heldSize: count, reason: ownText }),
};

/** Statements of the given kinds, all of them by default. */
export function statements(of: readonly Kind[] = kinds): fc.Arbitrary<Statement> {
  return fc.oneof(...of.map((kind) => bodies[kind].map((body) => statementSchema.parse({ kind, body }))));
}
