import { amount } from './amount.ts';
import { Wrong } from './checkup.ts';
import { limits } from './limits.ts';

const dayMs = 24 * 60 * 60_000;

/**
 * How long a certificate is still good for, in words.
 * @param validToMs as it says itself, Unix milliseconds.
 * @param fix what renews it.
 * @throws Wrong when it has ended, or will within `limits.certificateSoonMs`.
 */
export function certificateAge(validToMs: number, nowMs: number, fix: string): string {
  const leftMs = validToMs - nowMs;
  const until = new Date(validToMs).toISOString().slice(0, 10);
  if (leftMs <= 0) throw new Wrong(`it ended on ${until}`, fix);
  const left = `${amount(Math.floor(leftMs / dayMs), 'day')} left, until ${until}`;
  if (leftMs < limits.certificateSoonMs) throw new Wrong(left, fix);
  return left;
}
