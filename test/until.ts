import { setTimeout as delay } from 'node:timers/promises';

/**
 * Waits for `condition` to hold. Asks every few milliseconds, and less often the longer it takes: whole programs are asked, and must not
 * be kept busy with answers. A machine that has other things to do is given time: nothing that holds is waited for any longer.
 * @throws when `deadlineMs` passes first, naming `what`.
 */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 60_000,
): Promise<void> {
  const begun = performance.now();
  while (!(await condition())) {
    const waitedMs = performance.now() - begun;
    if (waitedMs > deadlineMs) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await delay(Math.min(Math.max(waitedMs / 5, 5), 200));
  }
}
