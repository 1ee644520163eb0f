import { type EndedDrift, type GraceRule, graceClocks } from '../../common/enforcement/grace.ts';
import type { PlanningStore } from './desk-ports.ts';
import type { EndedDriftRow, OpenDrift } from './ports.ts';
import type { EarlierClock, ManifestInForce } from './situation.ts';

/**
 * Reads what the clocks of unauthorized containers' drifts go on from, and nothing where no grace period could be dodged.
 * @returns by the index that opened the drift; only those that go on from another.
 */
export async function earlierClocks(
  store: Pick<PlanningStore, 'endedDrifts'>,
  { node, drifts, manifest, nowMs }: ClocksOf,
): Promise<ReadonlyMap<number, EarlierClock>> {
  const { graceMs } = manifest.policy.answers.UNAUTHORIZED_CONTAINER;
  const young = drifts.filter(
    ({ drift, openedAtMs }) => drift.kind === 'UNAUTHORIZED_CONTAINER' && nowMs - openedAtMs < graceMs + maxBehindMs,
  );
  if (graceMs === 0 || young.length === 0) return new Map();
  // A chain in which every link follows within the grace period, and that reaches back for longer than one, has a link in here.
  const oldestMs = Math.min(...young.map(({ openedAtMs }) => openedAtMs));
  const ended = await store.endedDrifts(node, oldestMs - 2 * graceMs);
  const rule = { graceMs, wantedImages: manifest.wantedImages?.(node) ?? [] };
  return clocksOf(young, ended, rule);
}

interface ClocksOf {
  readonly node: string;
  readonly drifts: readonly OpenDrift[];
  readonly manifest: Pick<ManifestInForce, 'policy' | 'wantedImages'>;
  readonly nowMs: number;
}

/** How far a drift may be told behind the collector's clock and still be looked at. */
const maxBehindMs = 60_000;

function clocksOf(
  young: readonly OpenDrift[],
  ended: readonly EndedDriftRow[],
  rule: GraceRule,
): ReadonlyMap<number, EarlierClock> {
  const clocks = graceClocks<EndedDrift & EarlierClock>(rule);
  for (const { drift, openedAtMs, openedIndex, endedMs } of ended) {
    const { sinceMs, openedIndex: first } = clocks.before(drift, openedAtMs) ?? { sinceMs: openedAtMs, openedIndex };
    clocks.add({ drift, endedMs, sinceMs, openedIndex: first });
  }
  const found = young.flatMap(({ drift, openedAtMs, openedIndex }) => {
    const before = clocks.before(drift, openedAtMs);
    return before === undefined ? [] : [[openedIndex, before] as const];
  });
  return new Map(found);
}
