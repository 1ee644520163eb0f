import type { Gauge } from 'prom-client';

/** Joins callers that ask at the same time: the gauges of one scrape, which are collected together. */
export function shared<T>(ask: () => Promise<T>): () => Promise<T> {
  let asking: Promise<T> | undefined;
  return () => {
    asking ??= ask().finally(() => {
      asking = undefined;
    });
    return asking;
  };
}

/** While the database is away its figures are missing; the others are needed then more than ever. */
export async function setOrForget(gauge: Gauge, set: () => Promise<void>): Promise<void> {
  await set().catch(() => {
    gauge.reset();
    // A gauge without labels is 0 after that, which would be a figure.
    gauge.remove({});
  });
}
