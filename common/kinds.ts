import { z } from 'zod';
import { alertPattern } from './alert-pattern.ts';
import { driftSchema } from './drift.ts';
import { driftKinds } from './drift-kind.ts';
import { count, foreignText, hex64, nodeName, ownText, timestamp } from './fields.ts';
import { integrityStatuses, reportId, storeCounts } from './integrity-report.ts';
import { ledgerCheck } from './ledger-check.ts';
import { limits } from './limits.ts';
import { lineageSchema } from './lineage.ts';
import { observedContainer } from './observed.ts';
import { approvalSchema, orderOutcomes, orderSchema } from './order.ts';
import { sigilFinding } from './sigil.ts';
import { acceptableChecks } from './sigil-inventory.ts';

const publicKey = z.base64().length(44);
const storeName = foreignText;
/** A signed checkpoint, whole: cut, it would prove nothing. */
const heldNote = z.string().max(limits.maxHeldNoteChars);

/** What a scan minute can count as (the glossary's coverage; `dropped` and `agent-down` only appear in gaps). */
export const scanCoverage = ['observed', 'late', 'engine-down', 'clock-suspect'] as const;

/**
 * Why there is no report for a stretch of time. Start and finish times of containers that still exist are rebuilt
 * afterwards; those that came and went in between are not known, and the gap says so by being there. `clock-suspect`: the
 * agent's clock moved on by more than it measured, since the machine slept or the clock was set; `dropped`: the agent
 * watched, and its disk did not take the report.
 */
export const gapReasons = ['agent-down', 'engine-down', 'clock-suspect', 'dropped'] as const;

/** What a job can do about an artifact: keep its registration for ever, or tell somebody. */
export const enforcementActions = ['pin_arweave', 'webhook_alert'] as const;
export const enforcementOutcomes = ['done', 'failed'] as const;

export const alertSeverities = ['info', 'warning', 'error', 'critical'] as const;

const storeSummary = z.strictObject({
  store: storeName,
  /** `pending` until the store has been scanned in full once. */
  status: z.enum(['ok', 'findings', 'unreadable', 'pending']),
  /** Hex digest over the ids of the findings that are open. */
  findingsDigest: hex64,
  openFindings: count,
  checkedRecords: count,
  /** What stopped the scan, when it is `unreadable`. */
  error: ownText.nullable(),
});

/** A start or finish inside a missed stretch, as the engine still remembers it. */
const rebuilt = z.strictObject({
  containerId: hex64,
  name: foreignText,
  startedAt: z.string().nullable(),
  finishedAt: z.string().nullable(),
});

/** Which drifts somebody speaks of; what is null is any. */
const driftScope = z.strictObject({
  node: nodeName.nullable(),
  container: foreignText.nullable(),
  kind: z.enum(driftKinds).nullable(),
});

/** What is kept on the node of a container before it is destroyed, so that nobody can exchange it later. */
const evidence = z.strictObject({
  /** Hex SHA-256 of the file. */
  sha256: hex64,
  bytes: count,
  imageId: foreignText,
  /** Files that differ from the image, as far as they were counted. */
  changedFiles: count,
  logBytes: count,
});

/** From 0 to 1. */
const score = z.number().min(0).max(1);

/** What an artifact is judged by. */
export const scoreParts = ['drift', 'signature', 'provenance', 'findings', 'age', 'scorecard'] as const;

/** What an artifact can be: one file, a folder with all that is in it, a container image. */
export const artifactKinds = ['file', 'tree', 'image'] as const;

/** One kind and the shape of its body. */
function kind<const K extends string, S extends z.ZodRawShape>(name: K, body: S) {
  return z.strictObject({ kind: z.literal(name), body: z.strictObject(body) });
}

/** Statements only the collector may make. */
const collectorStatements = [
  /** Index 0 of every ledger: names it and the key its checkpoints are signed with. */
  kind('ledger.created', { origin: ownText, collectorKey: publicKey }),
  kind('node.enrolled', { node: nodeName, publicKey, fingerprint: ownText, agentVersion: ownText }),
  kind('node.revoked', { node: nodeName, fingerprint: ownText, reason: ownText }),
  kind('auth.event', {
    event: ownText,
    actor: ownText,
    subject: ownText,
    detail: ownText,
    /** Of the request that it was done by; missing for what was done in another way, and in old entries. */
    requestId: z.string().max(64).exactOptional(),
  }),
  /** Two different entries under one author and number: evidence that a key is used twice. */
  kind('ledger.equivocation', {
    node: nodeName,
    seq: count,
    /** Hashes of the entry that stands and of the one that was refused. */
    accepted: hex64,
    offered: hex64,
    /** The refused entry itself, unless it is too long. */
    offeredText: z.string().max(limits.maxEvidenceChars).nullable(),
    offeredSignature: z.base64().length(88),
  }),
  /**
   * Written before the bodies of the entries `from` up to but not including `to` are dropped; all their hashes stay. `root` is
   * that of the first `to` entries; `base` the SHA-256 of what stood then, which projections are rebuilt from; `columns` the
   * digest of author, number, kind, time and hash of each of these entries, which nothing else proves any more.
   */
  kind('ledger.erased', {
    from: count,
    to: count,
    entries: count,
    /** Of kinds that later entries are judged by; they stay. */
    keptBodies: count,
    root: hex64,
    base: hex64,
    columns: hex64,
    exported: z.strictObject({ file: ownText, sha256: hex64, entries: count }).nullable(),
    actor: ownText,
    reason: ownText,
  }),
  /** A full check of the ledger and of what is derived from it, by the collector's schedule or by hand. */
  kind('ledger.checked', {
    report: reportId,
    status: z.enum(integrityStatuses),
    startedAt: timestamp,
    finishedAt: timestamp,
    /** Of the report in the collector's archive. */
    sha256: hex64,
    /** As in the report, without the rows that differ. */
    check: ledgerCheck,
  }),
  /**
   * No quorum of witnesses had cosigned anything newer than `fromSize` for too long. It has now, at `toSize`, and by
   * consistency vouches for the whole span.
   */
  kind('witness.gap', { fromSize: count, toSize: count, since: timestamp, until: timestamp }),
  kind('order.issued', { order: orderSchema }),
  /** `order` is the hash of the order, in all of these. */
  kind('order.approved', { order: hex64, approval: approvalSchema }),
  /** By a person, while it was not carried out yet. */
  kind('order.rejected', { order: hex64, actor: ownText, reason: ownText }),
  /** Many nodes began to drift the same way right after one commit: nothing is ordered by it until somebody has looked. */
  kind('enforcement.frozen', {
    commit: ownText,
    drift: z.enum(driftKinds),
    nodes: z.array(nodeName).max(limits.maxFreezeNodes),
    reason: ownText,
  }),
  kind('enforcement.released', { commit: ownText, actor: ownText, reason: ownText }),
  /** A job for an artifact. `retryOf` names the dead letter that this one tries again. */
  kind('enforcement.requested', {
    id: hex64,
    /** Its SHA-256. */
    artifact: hex64,
    action: z.enum(enforcementActions),
    target: ownText,
    reason: ownText,
    actor: ownText,
    retryOf: hex64.nullable(),
  }),
  /** How a job has ended, said once. */
  kind('enforcement.result', {
    id: hex64,
    outcome: z.enum(enforcementOutcomes),
    /** Of the transaction, where one was made. */
    txId: z.string().max(64).nullable(),
    error: ownText.nullable(),
    attempts: count,
    /** SHA-256 of the attempts as the collector tells them, in canonical JSON. */
    trace: hex64,
  }),
  /** Somebody has looked at a dead letter, and nothing more is to be done. */
  kind('enforcement.resolved', { id: hex64, actor: ownText, reason: ownText }),
  kind('alert.raised', {
    key: ownText,
    severity: z.enum(alertSeverities),
    summary: ownText,
    node: nodeName.nullable(),
  }),
  kind('alert.resolved', { key: ownText, reason: ownText }),
  /** Nobody is told of these alerts until then; they stay on record. `id` is a name for ending it earlier. */
  kind('alert.silenced', { id: hex64, pattern: alertPattern, until: timestamp, actor: ownText, reason: ownText }),
  kind('alert.unsilenced', { id: hex64, actor: ownText, reason: ownText }),
  /** Somebody knows of it: it is not told again, and to nobody else. */
  kind('alert.acknowledged', { key: ownText, actor: ownText, reason: ownText }),
  /** Nothing is ordered because of these drifts until then; they stay on record. `id` is a name for ending it earlier. */
  kind('drift.silenced', { id: hex64, scope: driftScope, until: timestamp, actor: ownText, reason: ownText }),
  kind('drift.unsilenced', { id: hex64, actor: ownText, reason: ownText }),
  /** A signed announcement that a container will get another image: see `common/enforcement/announcement.ts`. */
  kind('change.announced', { text: ownText, approval: approvalSchema }),
  /** Somebody says of an artifact what it is and where it comes from. The last one counts, the others stay its history. */
  kind('artifact.registered', {
    /** Its SHA-256: the artifact's name everywhere. */
    id: hex64,
    name: foreignText.nullable(),
    kind: z.enum(artifactKinds).nullable(),
    lineage: lineageSchema,
    /** As given: how far it has drifted, and what a scorecard says of its project. */
    driftScore: score.nullable(),
    scorecardScore: score.nullable(),
    actor: ownText,
  }),
  kind('artifact.scored', {
    artifact: hex64,
    total: score,
    /** The total before; null for the first. */
    previous: score.nullable(),
    /** What it was scored by: a name, and a digest of its numbers. */
    metric: ownText,
    /** Weights are of what is known and come to 1; a part whose value is null weighs nothing. */
    parts: z
      .array(z.strictObject({ part: z.enum(scoreParts), value: score.nullable(), weight: score }))
      .max(limits.maxScoreParts),
  }),
] as const;

/** Statements a node makes about itself. */
const nodeStatements = [
  kind('agent.started', { version: ownText, runtime: ownText, hostname: foreignText }),
  /** The one statement of a quiet minute: digests of the observed state, not the state. */
  kind('report', {
    minute: timestamp,
    coverage: z.enum(scanCoverage),
    scanMs: count,
    containers: z.strictObject({ count, unobserved: count, digest: hex64 }),
    drifts: z.strictObject({ open: count, digest: hex64 }),
    stores: z.array(storeSummary),
    commit: z.string().nullable(),
    /**
     * The file system of the agent's data directory, as far as its user may fill it. Missing where it cannot be told, and in the
     * reports of older agents.
     */
    disk: z.strictObject({ freeBytes: count, totalBytes: count }).exactOptional(),
  }),
  /**
   * What changed in the observed containers since the author's last `observed` entry. A `baseline` starts from nothing,
   * so the fold over an author's `observed` entries is always the full observed state.
   */
  kind('observed', { baseline: z.boolean(), upserted: z.array(observedContainer), removed: z.array(hex64) }),
  kind('drift.opened', { drift: driftSchema, commit: z.string().nullable() }),
  kind('drift.changed', { drift: driftSchema, commit: z.string().nullable() }),
  kind('drift.resolved', { id: foreignText, commit: z.string().nullable() }),
  kind('sigil.scan', {
    store: storeName,
    mode: z.enum(['incremental', 'full']),
    startedAt: timestamp,
    durationMs: count,
    tables: count,
    blocks: count,
    bytes: count,
    records: count,
    sigils: count,
    findings: count,
  }),
  kind('sigil.finding', { store: storeName, finding: sigilFinding }),
  kind('sigil.cleared', { store: storeName, id: foreignText }),
  /** Somebody on the node says that it was done on purpose: the finding is open no longer, and the inventory forgets the change. */
  kind('sigil.accepted', {
    store: storeName,
    key: foreignText,
    check: z.enum(acceptableChecks),
    /** The finding's id. */
    finding: foreignText,
    reason: ownText,
  }),
  /** A full check of all of the node's stores, by its schedule. What it found are entries of their own. */
  kind('integrity.report', {
    report: reportId,
    status: z.enum(integrityStatuses),
    startedAt: timestamp,
    finishedAt: timestamp,
    /** Of the report's file in the node's archive; null when it could not be written. */
    sha256: hex64.nullable(),
    stores: z
      .array(
        z.strictObject({
          store: storeName,
          status: z.enum(integrityStatuses),
          /** Null when the store could not be read. */
          counts: storeCounts.nullable(),
          findings: count,
        }),
      )
      .max(limits.maxStores),
  }),
  kind('desired.adopted', { commit: ownText, digest: hex64, containers: count }),
  kind('desired.rejected', {
    commit: z.string().nullable(),
    file: ownText,
    line: count,
    column: count,
    reason: ownText,
  }),
  kind('coverage.gap', { from: timestamp, to: timestamp, reason: z.enum(gapReasons), rebuilt: z.array(rebuilt) }),
  /** Statements that were never numbered because the outbox was full. */
  kind('outbox.dropped', { count, from: timestamp, to: timestamp, kinds: z.record(z.string(), count) }),
  /**
   * The outbox was found damaged and moved aside; what could be read of it is what stands before this entry. `missing` entries
   * had been numbered, were not acknowledged and could not be kept; left out where nothing tells how many.
   */
  kind('outbox.recovered', { reason: ownText, salvaged: count, missing: count.exactOptional(), quarantine: ownText }),
  /** A checkpoint that cannot be a continuation of the one the agent holds, with both as evidence. */
  kind('witness.fork', { held: heldNote, offered: heldNote, reason: ownText }),
  /** A node that was cut off decides by itself, by the standing rules. */
  kind('order.local', { order: orderSchema }),
  kind('order.result', {
    order: hex64,
    outcome: z.enum(orderOutcomes),
    /** Why it was refused or failed, by a word for machines. */
    code: z.string().max(64).nullable(),
    reason: ownText,
    evidence: evidence.nullable(),
    /** The container that was made. */
    containerId: hex64.nullable(),
  }),
  /** Somebody has looked at the evidence of a fork, and lets the agent go on from the checkpoint it holds. */
  kind('witness.released', { evidence: ownText, heldSize: count, reason: ownText }),
] as const;

/**
 * Everything the ledger can hold. Closed: a kind that is not here is refused at the edge. Bodies travel in canonical
 * JSON, so they hold nothing but JSON values.
 */
export const statementSchema = z.discriminatedUnion('kind', [...collectorStatements, ...nodeStatements]);

/** Something an author wants to say, not yet numbered, chained or signed. */
export type Statement = z.infer<typeof statementSchema>;
export type Kind = Statement['kind'];
export type StatementOf<K extends Kind> = Extract<Statement, { kind: K }>;
export type Body<K extends Kind> = StatementOf<K>['body'];

/** Every kind, in the order they are declared. */
export const kinds: readonly Kind[] = [...collectorStatements, ...nodeStatements].map((s) => s.shape.kind.value);

/** Kinds a node may author. */
export const nodeKinds: ReadonlySet<Kind> = new Set(nodeStatements.map((s) => s.shape.kind.value));

/** What the collector states of itself in the words of a node: it follows the manifest too. */
const sharedKinds: readonly Kind[] = ['desired.adopted', 'desired.rejected'];

/** Kinds the collector may author. */
export const collectorKinds: ReadonlySet<Kind> = new Set([
  ...collectorStatements.map((s) => s.shape.kind.value),
  ...sharedKinds,
]);
