import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import type { Checkpoint } from '../../common/checkpoint.ts';
import { driftKinds } from '../../common/drift-kind.ts';
import { announcementIn } from '../../common/enforcement/announcement.ts';
import type { MeasureStatement } from '../../common/enforcement/measures.ts';
import { count, foreignText, hex64, nodeName, timestamp } from '../../common/fields.ts';
import { type Order, orderHash } from '../../common/order.ts';
import type { CollectorMessage, MessageOf } from '../../common/protocol.ts';
import { misplaced, readLogged } from './issued.ts';

export type MeasureMessage = MessageOf<CollectorMessage, 'measure'>;

/** A measure that is in the ledger: proved, in a checkpoint that this node has accepted. */
export interface ToldMeasure {
  readonly index: number;
  readonly said: MeasureStatement;
  /** What a rejection is about; its hash is the one that the entry names. */
  readonly order: Order | undefined;
}

/**
 * Takes a measure as it came over the wire.
 * @param checkpoint the message's own, which the witness has just accepted.
 * @param collectorKey key of the log, which signs the collector's entries.
 * @throws AppError as `readLogged`, and `validation.protocol` for an entry that is no measure.
 */
export function readMeasure(message: MeasureMessage, checkpoint: Checkpoint, collectorKey: KeyObject): ToldMeasure {
  const { index, order } = message;
  const entry = readLogged(message, checkpoint, collectorKey);
  switch (entry.kind) {
    case 'enforcement.frozen':
    case 'enforcement.released':
    case 'drift.silenced':
    case 'drift.unsilenced':
    case 'change.announced':
      return { index, said: entry, order: undefined };
    case 'order.rejected': {
      const isMeant = order !== null && orderHash(order) === entry.body.order;
      return { index, said: entry, order: isMeant ? order : undefined };
    }
    default:
      throw misplaced(entry, 'a measure');
  }
}

const scope = z.strictObject({
  node: nodeName.nullable(),
  container: foreignText.nullable(),
  kind: z.enum(driftKinds).nullable(),
});

/** What is remembered of a measure. What ended one is remembered as long as the other could be told again. */
export const measureRecord = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('commit'), index: count, commit: z.string(), frozen: z.boolean() }),
  z.strictObject({ type: z.literal('silence'), index: count, scope, until: timestamp, ended: z.boolean() }),
  z.strictObject({ type: z.literal('change'), index: count, text: z.string(), until: timestamp }),
  z.strictObject({ type: z.literal('rejection'), index: count, commit: z.string(), drift: foreignText, digest: hex64 }),
]);
export type MeasureRecord = z.infer<typeof measureRecord>;
type RecordOf<T extends MeasureRecord['type']> = Extract<MeasureRecord, { type: T }>;

/** Measures by their names. */
export type MeasureRecords = ReadonlyMap<string, MeasureRecord>;

export interface MeasureGround {
  readonly node: string;
  /** Unix milliseconds. */
  readonly nowMs: number;
}

/** Something new to remember, under its name. */
export type MeasureChange = readonly [name: string, record: MeasureRecord];

/**
 * What a measure changes in what is remembered; undefined for what does not concern this node, is over, or comes before what is
 * remembered in the ledger: whatever order they arrive in, the index decides. Pure.
 */
export function changeOf(told: ToldMeasure, known: MeasureRecords, at: MeasureGround): MeasureChange | undefined {
  const change = recordOf(told, known, at);
  if (change === undefined) return undefined;
  const [name, record] = change;
  const before = known.get(name);
  return before !== undefined && before.index >= record.index ? undefined : change;
}

function recordOf(
  { index, said, order }: ToldMeasure,
  known: MeasureRecords,
  at: MeasureGround,
): MeasureChange | undefined {
  switch (said.kind) {
    case 'enforcement.frozen':
      return commitRecord(index, said.body.commit, true);
    case 'enforcement.released':
      return commitRecord(index, said.body.commit, false);
    case 'drift.silenced': {
      const { id, scope: about, until } = said.body;
      const concerns = (about.node ?? at.node) === at.node && Date.parse(until) > at.nowMs;
      return concerns ? [`silence/${id}`, { type: 'silence', index, scope: about, until, ended: false }] : undefined;
    }
    case 'drift.unsilenced': {
      const name = `silence/${said.body.id}`;
      const before = known.get(name);
      return before?.type === 'silence' ? [name, { ...before, index, ended: true }] : undefined;
    }
    case 'change.announced':
      return changeRecord(index, said.body.text, at);
    case 'order.rejected':
      return rejectionRecord(index, order, at);
    default:
      return said satisfies never;
  }
}

/** What is no id of a commit can never be in force. */
function commitRecord(index: number, commit: string, frozen: boolean): MeasureChange | undefined {
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(commit)) return undefined;
  return [`commit/${commit}`, { type: 'commit', index, commit, frozen }];
}

/** Who has announced it is not looked into: like a freeze, it can only keep the node from acting. */
function changeRecord(index: number, text: string, { node, nowMs }: MeasureGround): MeasureChange | undefined {
  const announced = announcementIn(text);
  if (announced === undefined || (announced.node ?? node) !== node) return undefined;
  const { until } = announced;
  return Date.parse(until) > nowMs ? [`change/${index}`, { type: 'change', index, text, until }] : undefined;
}

function rejectionRecord(index: number, order: Order | undefined, { node }: MeasureGround): MeasureChange | undefined {
  if (order === undefined || order.node !== node || order.drift === null || order.origin === 'operator') {
    return undefined;
  }
  const { id: drift, digest } = order.drift;
  return [`rejection/${orderHash(order)}`, { type: 'rejection', index, commit: order.commit, drift, digest }];
}

export interface RememberedFor {
  /** The commit in force; undefined while there is none. */
  readonly commit: string | undefined;
  /** Digests of the drifts that stand, by their ids; undefined while that is not known. */
  readonly digests: ReadonlyMap<string, string> | undefined;
  /** Unix milliseconds. */
  readonly nowMs: number;
}

/** Whether nothing depends on it any more. */
export function isOver(record: MeasureRecord, at: RememberedFor): boolean {
  switch (record.type) {
    // A freeze stays, since the node may go back to the commit; that it was released matters while it is in force.
    case 'commit':
      return !record.frozen && at.commit !== undefined && record.commit !== at.commit;
    case 'silence':
    case 'change':
      return Date.parse(record.until) <= at.nowMs;
    case 'rejection':
      return isRejectionOver(record, at);
    default:
      return record satisfies never;
  }
}

function isRejectionOver({ commit, drift, digest }: RecordOf<'rejection'>, at: RememberedFor): boolean {
  if (at.commit !== undefined && commit !== at.commit) return true;
  return at.digests !== undefined && at.digests.get(drift) !== digest;
}
