import type { RunningCollector } from '../../test/system.ts';

/** One of a Prometheus histogram's buckets: how many took `leMs` or less. */
interface Bucket {
  readonly leMs: number;
  readonly count: number;
}

/** How long acks have taken so far, as the collector itself says in its metrics. */
export type AckTimes = readonly Bucket[];

const bucketLine = /^sigilwatch_collector_append_ack_seconds_bucket\{le="([^"]+)"\} (\d+)$/gm;

/** @throws when the collector does not say. */
export async function readAckTimes({ url, token }: RunningCollector): Promise<AckTimes> {
  const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } });
  const text = await answer.text();
  const buckets = [...text.matchAll(bucketLine)].map(([, le, count]) => ({
    leMs: le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le) * 1_000,
    count: Number(count),
  }));
  if (buckets.length === 0) throw new Error(`the collector does not say how long its acks took: ${answer.status}`);
  return buckets;
}

/**
 * The quantile `q` of what was counted between two looks, milliseconds; within a bucket in proportion, as Prometheus does.
 * Infinite when it lies above all buckets.
 * @throws when nothing was
 */
export function ackQuantileMs(before: AckTimes, after: AckTimes, q: number): number {
  const counts = after.map(({ leMs, count }, at) => ({ leMs, count: count - (before[at]?.count ?? 0) }));
  const wanted = q * (counts.at(-1)?.count ?? 0);
  if (wanted === 0) throw new Error('no ack was counted');
  const at = counts.findIndex(({ count }) => count >= wanted);
  const [below, within] = [counts[at - 1] ?? { leMs: 0, count: 0 }, counts[at] ?? { leMs: 0, count: 0 }];
  if (within.leMs === Number.POSITIVE_INFINITY) return within.leMs;
  return below.leMs + ((within.leMs - below.leMs) * (wanted - below.count)) / (within.count - below.count);
}
