import { setTimeout as delay } from 'node:timers/promises';

/** Waits for `condition` to hold, asking every few milliseconds. @throws when `deadlineMs` passes first, naming `what`. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 10_000,
): Promise<void> {
  const giveUpAt = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await delay(5);
  }
}
