import { setTimeout as delay } from 'node:timers/promises';

/**
 * Waits for `condition` to hold, asking every few milliseconds unless told otherwise.
 * @throws when `deadlineMs` passes first, naming `what`.
 */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 10_000,
  lookAgainMs = 5,
): Promise<void> {
  const giveUpAt = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await delay(lookAgainMs);
  }
}
