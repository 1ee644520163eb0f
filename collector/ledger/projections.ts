import type { LoggedEntry } from '../../common/entry.ts';
import { type Body, type Kind, type Statement, statementSchema } from '../../common/kinds.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import { orderHash } from '../../common/order.ts';
import { foldOccurrences, type OccurrenceChanges, type OccurrenceEvent, type When } from './verify/occurrences.ts';

/** A projected fact and the entry it comes from. */
export type From<K extends Kind> = When & Body<K>;

/** The newest word on one container within a batch; `container` is null when it is gone. */
export interface ContainerChange {
  readonly node: string;
  readonly id: string;
  readonly index: number;
  readonly container: ObservedContainer | null;
}

/**
 * What a run of entries changes in the projections. Every fact carries its ledger index and the store applies it only
 * over older ones, so the outcome does not depend on how entries were batched: rebuilding in one go gives the same rows.
 */
export interface ProjectionChanges {
  readonly enrolled: readonly From<'node.enrolled'>[];
  readonly revoked: readonly From<'node.revoked'>[];
  readonly started: readonly From<'agent.started'>[];
  readonly reports: readonly From<'report'>[];
  /** The last entry of each node in the run. */
  readonly lastEntries: readonly When[];
  /** Nodes whose containers before `index` no longer hold. */
  readonly baselines: readonly When[];
  readonly containers: readonly ContainerChange[];
  readonly drifts: OccurrenceChanges<Body<'drift.opened'>>;
  /** By store and finding id. */
  readonly findings: OccurrenceChanges<Body<'sigil.finding'>>;
  readonly gaps: readonly From<'coverage.gap'>[];
  readonly orders: readonly OrderEntry[];
  readonly orderEvents: readonly OrderEvent[];
  readonly measures: readonly Measure[];
  readonly artifacts: readonly From<'artifact.registered'>[];
  readonly artifactScores: readonly From<'artifact.scored'>[];
  readonly enforcements: readonly From<'enforcement.requested'>[];
  readonly enforcementEvents: readonly EnforcementEvent[];
}

/** An order, whoever said so; whether he may is for whoever reads it to judge by `node`. */
export type OrderEntry = From<'order.issued' | 'order.local'> & {
  /** Of the order as it was signed, which may be another text than the one that can be stored. */
  readonly hash: string;
};

/** Something that was said of an order; whether by somebody who may, is for whoever reads it to judge by `node`. */
export interface OrderEvent extends When {
  /** The order's hash. */
  readonly order: string;
  readonly kind: 'order.approved' | 'order.rejected' | 'order.result';
  readonly body: Body<'order.approved' | 'order.rejected' | 'order.result'>;
}

/** What enforcement is judged by beside drifts and orders: what holds it up or lets it go on, and who follows which commit. */
export interface Measure extends When {
  readonly kind: MeasureKind;
  readonly body: Body<MeasureKind>;
}

/** What became of a job; whether the collector said so is for whoever stores it to judge by `node`. */
export interface EnforcementEvent extends When {
  readonly id: string;
  readonly kind: 'enforcement.result' | 'enforcement.resolved';
  readonly body: Body<'enforcement.result' | 'enforcement.resolved'>;
}

type MeasureKind =
  | 'enforcement.frozen'
  | 'enforcement.released'
  | 'drift.silenced'
  | 'drift.unsilenced'
  | 'change.announced'
  | 'desired.adopted';

/** What is gathered while the entries are read. */
interface Gathered {
  readonly enrolled: From<'node.enrolled'>[];
  readonly revoked: From<'node.revoked'>[];
  readonly started: From<'agent.started'>[];
  readonly reports: From<'report'>[];
  readonly gaps: From<'coverage.gap'>[];
  readonly orders: OrderEntry[];
  readonly orderEvents: OrderEvent[];
  readonly measures: Measure[];
  readonly artifacts: From<'artifact.registered'>[];
  readonly artifactScores: From<'artifact.scored'>[];
  readonly enforcements: From<'enforcement.requested'>[];
  readonly enforcementEvents: EnforcementEvent[];
  readonly baselines: When[];
  readonly lastEntries: Map<string, When>;
  /** By node and container id. */
  readonly containers: Map<string, Map<string, ContainerChange>>;
  readonly drifts: OccurrenceEvent<Body<'drift.opened'>>[];
  readonly findings: OccurrenceEvent<Body<'sigil.finding'>>[];
}

/** Reads a run of entries, in index order, into the changes they mean. Pure. */
export function project(entries: readonly LoggedEntry[]): ProjectionChanges {
  const gathered: Gathered = {
    enrolled: [],
    revoked: [],
    started: [],
    reports: [],
    gaps: [],
    orders: [],
    orderEvents: [],
    measures: [],
    artifacts: [],
    artifactScores: [],
    enforcements: [],
    enforcementEvents: [],
    baselines: [],
    lastEntries: new Map(),
    containers: new Map(),
    drifts: [],
    findings: [],
  };
  for (const logged of entries) gather(logged, gathered);
  return {
    ...gathered,
    lastEntries: [...gathered.lastEntries.values()],
    containers: [...gathered.containers.values()].flatMap((ofNode) => [...ofNode.values()]),
    drifts: foldOccurrences(gathered.drifts),
    findings: foldOccurrences(gathered.findings),
  };
}

function gather(logged: LoggedEntry, into: Gathered): void {
  const when = { index: logged.index, node: logged.entry.author, at: logged.entry.at };
  const said = storable(logged);
  into.lastEntries.set(when.node, when);
  switch (said.kind) {
    case 'node.enrolled':
      into.enrolled.push({ ...when, ...said.body });
      break;
    case 'node.revoked':
      into.revoked.push({ ...when, ...said.body });
      break;
    case 'agent.started':
      into.started.push({ ...when, ...said.body });
      break;
    case 'report':
      into.reports.push({ ...when, ...said.body });
      break;
    case 'observed':
      gatherObserved(when, said.body, into);
      break;
    case 'drift.opened':
      into.drifts.push({ type: 'open', ...when, id: said.body.drift.id, value: said.body });
      break;
    case 'drift.changed':
      into.drifts.push({ type: 'change', ...when, id: said.body.drift.id, value: said.body });
      break;
    case 'drift.resolved':
      into.drifts.push({ type: 'end', ...when, id: said.body.id });
      break;
    case 'sigil.finding':
      into.findings.push({
        type: 'open',
        ...when,
        id: findingKey(said.body.store, said.body.finding.id),
        value: said.body,
      });
      break;
    case 'sigil.accepted':
      into.findings.push({ type: 'end', ...when, id: findingKey(said.body.store, said.body.finding) });
      break;
    case 'sigil.cleared':
      into.findings.push({ type: 'end', ...when, id: findingKey(said.body.store, said.body.id) });
      break;
    case 'coverage.gap':
      into.gaps.push({ ...when, ...said.body });
      break;
    case 'order.issued':
    case 'order.local':
      into.orders.push({ ...when, ...said.body, hash: hashAsSigned(logged, said.body) });
      break;
    case 'order.approved':
    case 'order.rejected':
    case 'order.result':
      into.orderEvents.push({ ...when, order: said.body.order, kind: said.kind, body: said.body });
      break;
    case 'enforcement.frozen':
    case 'enforcement.released':
    case 'drift.silenced':
    case 'drift.unsilenced':
    case 'change.announced':
    case 'desired.adopted':
      into.measures.push({ ...when, kind: said.kind, body: said.body });
      break;
    case 'artifact.registered':
      into.artifacts.push({ ...when, ...said.body });
      break;
    case 'artifact.scored':
      into.artifactScores.push({ ...when, ...said.body });
      break;
    case 'enforcement.requested':
      into.enforcements.push({ ...when, ...said.body });
      break;
    case 'enforcement.result':
    case 'enforcement.resolved':
      into.enforcementEvents.push({ ...when, id: said.body.id, kind: said.kind, body: said.body });
      break;
    case 'ledger.created':
    case 'ledger.equivocation':
    case 'ledger.erased':
    case 'ledger.checked':
    case 'auth.event':
    case 'sigil.scan':
    case 'integrity.report':
    case 'desired.rejected':
    case 'outbox.dropped':
    case 'outbox.recovered':
    case 'witness.fork':
    case 'witness.gap':
    case 'witness.released':
    case 'alert.raised':
    case 'alert.resolved':
    case 'alert.silenced':
    case 'alert.unsilenced':
    case 'alert.acknowledged':
      // Told by the entry itself (GET /api/v1/entries); no projection of their own.
      break;
    default:
      said satisfies never;
  }
}

function hashAsSigned({ entry }: LoggedEntry, stored: Body<'order.issued'>): string {
  const isOrder = entry.kind === 'order.issued' || entry.kind === 'order.local';
  return orderHash(isOrder ? entry.body.order : stored.order);
}

function gatherObserved(when: When, body: Body<'observed'>, into: Gathered): void {
  const { index, node } = when;
  if (body.baseline) {
    into.baselines.push(when);
    into.drifts.push({ type: 'baseline', ...when });
    into.findings.push({ type: 'baseline', ...when });
    into.containers.delete(node);
  }
  const containers = into.containers.get(node) ?? new Map<string, ContainerChange>();
  into.containers.set(node, containers);
  for (const id of body.removed) containers.set(id, { node, id, index, container: null });
  for (const container of body.upserted) containers.set(container.id, { node, id: container.id, index, container });
}

/**
 * The statement as the database can take it: PostgreSQL text has no U+0000, which the entry itself, kept as bytes, still
 * has. Done before anything is folded, since two names may become one.
 */
export function storable({ entry, bytes }: Pick<LoggedEntry, 'entry' | 'bytes'>): Statement {
  // Canonical JSON has only this way to write it (RFC 8785 §3.2.2.2).
  if (!bytes.includes('\\u0000')) return entry;
  const body: unknown = JSON.parse(JSON.stringify(entry.body), (_key, value) =>
    typeof value === 'string' ? value.replaceAll('\0', '\ufffd') : value,
  );
  return statementSchema.parse({ kind: entry.kind, body });
}

/** Findings are named within their store. */
function findingKey(store: string, id: string): string {
  return `${store}/${id}`;
}
