import type { KeyObject } from 'node:crypto';
import type { LoggedEntry } from '../../../common/entry.ts';
import { AppError } from '../../../common/errors.ts';
import type { Statement } from '../../../common/kinds.ts';
import { digestColumns } from '../verify/erased-columns.ts';
import type { StoredLedger } from '../verify/source.ts';
import { type BodyPartition, chooseSpan, type ErasureGround, type ErasureLimit } from './plan.ts';
import { type Erasure, readErasures, type StoredStatement } from './record.ts';
import { type ProvingLedger, storedRoot, verifyUpTo } from './verify.ts';

/*
 * Erasure: bodies of old entries go, by whole partitions, and what went is an entry. Nothing is dropped before that entry is
 * on record, and the drop is one transaction, so after a crash anywhere the ledger is either as it was or says what is to be
 * dropped; the next run then does that first.
 */

export interface Span {
  readonly from: number;
  readonly to: number;
}

/** What is in a span. */
export interface SpanFacts {
  /** Of kinds that later entries are judged by: they stay. */
  readonly keptBodies: number;
  /** When its first and its last entry were received, Unix milliseconds; null where no batch says. */
  readonly firstMs: number | null;
  readonly lastMs: number | null;
}

/** Reads that need no special rights. */
export interface ErasureFacts {
  ground(): Promise<ErasureGround>;
  /** When the last of its entries was received, Unix milliseconds. */
  receivedMs(partition: BodyPartition): Promise<number>;
  facts(span: Span): Promise<SpanFacts>;
  /** `ledger.erased` entries, in order, not believed. */
  statements(): Promise<readonly StoredStatement[]>;
}

/** What replaces the bodies of a span, made but not yet in force. */
export interface PreparedErasure {
  /** Hex SHA-256 of the projections as of the boundary; see `projection_bases`. */
  readonly base: string;
  readonly keptBodies: number;
  /** Puts the base in force and drops the bodies, once the transaction around it is committed. */
  drop(): Promise<void>;
}

export interface PrepareOptions {
  readonly collectorKey: KeyObject;
  readonly onProgress: ErasureProgress;
  /** Ends the wait for others before the drop; it is then left to the next run. */
  readonly signal: AbortSignal | undefined;
}

/** Whoever has it is alone: no other erasure, repair of projections or verification is under way. */
export interface ErasureRoom {
  /** One transaction around `work`, committed when that resolves. @throws AppError `ledger.tampered` when bodies cannot be read. */
  prepare<T>(to: number, by: PrepareOptions, work: (prepared: PreparedErasure) => Promise<T>): Promise<T>;
}

export interface ErasureStore extends ErasureFacts {
  /**
   * @throws AppError `state.busy` when somebody else is there; `validation.config` when the database's user may not drop.
   */
  alone<T>(work: (room: ErasureRoom) => Promise<T>): Promise<T>;
}

/** Told how far each step is, in entries. What it throws ends the run, unless the erasure is on record already. */
export type ErasureProgress = (step: ErasureStep, done: number, of: number) => void;
export type ErasureStep = 'verify' | 'export' | 'rebuild';

export type Exported = NonNullable<Erasure['exported']>;

export interface ErasingLedger extends ProvingLedger {
  readonly origin: string;
  record(statement: Statement): Promise<LoggedEntry>;
}

export interface ErasureNeeds {
  readonly store: ErasureStore;
  readonly stored: StoredLedger;
  readonly ledger: ErasingLedger;
  readonly collectorKey: KeyObject;
  readonly onProgress?: ErasureProgress;
  /** Ends the wait for those who are reading; a run that is further than that only waits for the database. */
  readonly signal?: AbortSignal | undefined;
}

export interface ErasureRequest {
  readonly limit: ErasureLimit;
  /** Who asked for it, and why; goes on record. */
  readonly actor: string;
  readonly reason: string;
  /** Writes the entries of the span to a file, durably and verified; without it they are not exported. */
  readonly exportSpan?: ((span: Span) => Promise<Exported>) | undefined;
}

export interface ErasurePlan extends Span, SpanFacts {
  readonly partitions: number;
  readonly bytes: number;
}

export interface ErasureReport {
  /** Where earlier erasures and this one ended. */
  readonly boundary: number;
  /** An erasure that was on record but not carried out is now. */
  readonly finished: Erasure | undefined;
  /** What was erased beyond that, and the entry that says so. */
  readonly erased: (ErasurePlan & { readonly index: number; readonly exported: Exported | null }) | undefined;
}

/** What an erasure with this limit would take; undefined when nothing. Changes nothing. */
export async function planErasure(store: ErasureFacts, limit: ErasureLimit): Promise<ErasurePlan | undefined> {
  const ground = await store.ground();
  const span = await chooseSpan(ground, limit, (partition) => store.receivedMs(partition));
  return span === undefined ? undefined : { ...span, ...(await store.facts(span)) };
}

/**
 * The newest erasure that is on record and not carried out: a run was broken off between the two. One that does not end where
 * a partition does (in a ledger that was put back otherwise than it had been) is left to the next larger erasure.
 */
export async function unfinishedErasure(
  store: Pick<ErasureFacts, 'ground' | 'statements'>,
  collectorKey: KeyObject,
): Promise<Erasure | undefined> {
  const { boundary, partitions } = await store.ground();
  const ends = new Set(partitions.map(({ to }) => to));
  return readErasures(await store.statements(), collectorKey)
    .filter(({ index, to }) => to > boundary && to <= index && ends.has(to))
    .reduce<Erasure | undefined>((last, next) => (next.to >= (last?.to ?? 0) ? next : last), undefined);
}

/**
 * Finishes what an earlier run has begun, then erases what the limit allows. Verifies before it drops, since nobody can verify
 * it afterwards: all entries up to the boundary, and that they belong to the tree that is being published.
 * @throws AppError `ledger.tampered` when anything up to the boundary is not in order: nothing is erased then;
 *   `state.busy`, `validation.config` as {@link ErasureStore.alone}; what the export throws.
 */
export async function eraseEntries(needs: ErasureNeeds, request: ErasureRequest): Promise<ErasureReport> {
  const { store } = needs;
  return store.alone(async (room) => {
    const finished = await finish(room, needs);
    const plan = await planErasure(store, request.limit);
    if (plan === undefined) return { boundary: (await store.ground()).boundary, finished, erased: undefined };
    const { index, exported } = await eraseSpan(room, plan, needs, request);
    return { boundary: plan.to, finished, erased: { ...plan, index, exported } };
  });
}

async function eraseSpan(room: ErasureRoom, plan: ErasurePlan, needs: ErasureNeeds, request: ErasureRequest) {
  const { stored, ledger, collectorKey, signal, onProgress = () => {} } = needs;
  const { from, to } = plan;
  const root = await verifyUpTo(to, { ...needs, onProgress: (done, of) => onProgress('verify', done, of) });
  const columns = await digestColumns(stored, from, to);
  const exported = (await request.exportSpan?.({ from, to })) ?? null;
  const { actor, reason } = request;
  return room.prepare(to, { collectorKey, onProgress, signal }, async (prepared) => {
    const { base, keptBodies } = prepared;
    // A crash before this line leaves the ledger as it was (and an export, which the next run finds); after it, `finish`
    // goes on from the entry. The transaction around has nothing in it yet that anybody else could see.
    const { index } = await ledger.record({
      kind: 'ledger.erased',
      body: { from, to, entries: to - from, keptBodies, root, base, columns, exported, actor, reason },
    });
    await prepared.drop();
    return { index, exported };
  });
}

async function finish(room: ErasureRoom, needs: ErasureNeeds): Promise<Erasure | undefined> {
  const { store, stored, ledger, collectorKey, signal, onProgress = () => {} } = needs;
  const said = await unfinishedErasure(store, collectorKey);
  if (said === undefined) return undefined;
  // It was verified before it was put on record; what has been changed since must stay to be looked at.
  if ((await storedRoot(stored, said.to)) !== said.root) throw changed(said, 'root');
  if ((await digestColumns(stored, said.from, said.to)) !== said.columns) throw changed(said, 'columns');
  await room.prepare(said.to, { collectorKey, onProgress, signal }, async (prepared) => {
    const { base, keptBodies } = prepared;
    // Another version of this program may keep other projections than the one that put it on record.
    if (base !== said.base) {
      const { index: _index, ...body } = said;
      await ledger.record({ kind: 'ledger.erased', body: { ...body, base, keptBodies } });
    }
    await prepared.drop();
  });
  return said;
}

function changed({ index, to }: Erasure, what: string): AppError {
  return new AppError(
    'ledger.tampered',
    `entries before ${to} are not those that entry ${index} says were to be erased (${what}); nothing was dropped. See what "sigilwatch-collector ledger verify" says`,
    { details: { index, to } },
  );
}
