import type { Body, StatementOf } from '../kinds.ts';
import { type Announcement, isAnnounced, type JudgedDrift } from './announcement.ts';

/** Statements of the collector that hold orders back, or end what did. */
export const measureKinds = [
  'enforcement.frozen',
  'enforcement.released',
  'drift.silenced',
  'drift.unsilenced',
  'change.announced',
  'order.rejected',
] as const;
export type MeasureKind = (typeof measureKinds)[number];
export type MeasureStatement = StatementOf<MeasureKind>;

export type Silence = Body<'drift.silenced'>;

/** Why a drift is not answered although its rule says so. */
export interface MeasureHold {
  readonly code: 'silenced' | 'expected' | 'frozen' | 'rejected';
  readonly reason: string;
  /** When it ends by itself, Unix milliseconds; undefined when time alone changes nothing. */
  readonly untilMs?: number;
}

/** Whether a silence is about this drift; of an order, about the one it answers. */
export function covers(
  { scope }: Pick<Silence, 'scope'>,
  about: { readonly node: string; readonly container: string; readonly kind: string | undefined },
): boolean {
  return (
    (scope.node ?? about.node) === about.node &&
    (scope.container ?? about.container) === about.container &&
    (scope.kind ?? about.kind) === about.kind
  );
}

/** The silence that lasts longest, of those that stand; undefined when there is none. @param nowMs Unix milliseconds. */
export function silencedBy(
  { node, drift: { container, kind } }: JudgedDrift,
  silences: readonly Pick<Silence, 'scope' | 'until'>[],
  nowMs: number,
): MeasureHold | undefined {
  const its = silences.filter((silence) => covers(silence, { node, container, kind }));
  const last = its
    .map(({ until }) => until)
    .filter((until) => Date.parse(until) > nowMs)
    .sort()
    .at(-1);
  if (last === undefined) return undefined;
  return { code: 'silenced', reason: `silenced until ${last}`, untilMs: Date.parse(last) };
}

/** The announced change that the drift is; undefined when it is none. @param nowMs Unix milliseconds. */
export function expectedBy(
  judged: JudgedDrift,
  announcements: readonly Announcement[],
  nowMs: number,
): MeasureHold | undefined {
  const its = announcements.find((announcement) => isAnnounced(announcement, judged, nowMs));
  if (its === undefined) return undefined;
  return { code: 'expected', reason: `announced: ${its.image} before ${its.until}`, untilMs: Date.parse(its.until) };
}

/** Nothing is ordered by a commit that is suspected. */
export function frozenHold(commit: string): MeasureHold {
  return { code: 'frozen', reason: `${commit.slice(0, 12)} is frozen until somebody has looked and released it` };
}

/** A person said no to an order for this drift, as it still is, by the same commit. */
export const rejectedHold: MeasureHold = {
  code: 'rejected',
  reason: 'a person has rejected an order for this drift',
};
