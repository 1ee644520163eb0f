import { z } from 'zod';
import { limits } from '../limits.ts';

/*
 * Shapes of single values in a manifest. Manifests were written for readers of YAML 1.1, too, so what those take for a
 * boolean is one here.
 */

/** Bounded well below what an entry's texts are cut to, so that no two names become one. */
export const text = z
  .string()
  .min(1)
  .max(255)
  .refine((value) => value.isWellFormed(), 'text without broken characters');

/** Words for people, which may be missing. */
export const words = z.string().max(limits.maxForeignTextChars);

/** `true`, `false`, and the words that YAML 1.1 takes for them. */
export const flag = z
  .union([z.boolean(), z.string().regex(/^(yes|no|on|off)$/i, 'expected true or false')], 'expected true or false')
  .transform((written) => written === true || (typeof written === 'string' && /^(yes|on)$/i.test(written)));

const unitsMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 } as const;

export interface PeriodBounds {
  /** What a bare number counts. */
  readonly unit: 'seconds' | 'days';
  readonly minMs?: number;
  readonly maxMs: number;
}

/** A period: a number in its own unit, or a text such as `90s`, `5m`, `1h30m`, `1d`. Milliseconds, once parsed. */
export function period({ unit, minMs = 0, maxMs }: PeriodBounds) {
  const expected = `expected a number of ${unit}, or a time such as 60s, 5m, 1h or 1d`;
  return z.union([z.number(), z.string().max(limits.maxForeignTextChars)], expected).transform((written, context) => {
    const ms = periodMs(written, unit === 'days' ? unitsMs.d : unitsMs.s);
    if (ms !== undefined && ms >= minMs && ms <= maxMs) return ms;
    const range = `between ${formatPeriod(minMs)} and ${formatPeriod(maxMs)}`;
    context.addIssue(ms === undefined ? expected : `expected a time ${range}`);
    return z.NEVER;
  });
}

function periodMs(written: number | string, unitMs: number): number | undefined {
  const trimmed = typeof written === 'string' ? written.trim() : written;
  if (typeof trimmed === 'number' || /^\d+(\.\d+)?$/.test(trimmed)) return Math.round(Number(trimmed) * unitMs);
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d|w))+$/.test(trimmed)) return undefined;
  let sumMs = 0;
  for (const [, amount, unit] of trimmed.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/g)) {
    sumMs += Number(amount) * (Object.entries(unitsMs).find(([name]) => name === unit)?.[1] ?? 0);
  }
  return Math.round(sumMs);
}

/** A period as a manifest would have it, in the largest units that fit: `1h30m`; `0s` for none. */
export function formatPeriod(ms: number): string {
  let rest = ms;
  let written = '';
  for (const unit of ['d', 'h', 'm', 's', 'ms'] as const) {
    const amount = Math.floor(rest / unitsMs[unit]);
    if (amount > 0) written += `${amount}${unit}`;
    rest -= amount * unitsMs[unit];
  }
  return written === '' ? '0s' : written;
}

/** A map that nothing reads: any keys, any values, bounded in depth and number, so that it can be carried around. */
export const freeForm = z.record(z.string(), z.unknown(), 'expected a map').superRefine((value, context) => {
  const reason = tooMuch(value);
  if (reason !== undefined) context.addIssue(reason);
});

function tooMuch(whole: unknown): string | undefined {
  let level: unknown[] = [whole];
  let values = 0;
  // Through aliases a value may stand in many places, or inside itself.
  for (let depth = 0; level.length > 0; depth++) {
    values += level.length;
    if (values > limits.maxFreeFormValues) return `more than ${limits.maxFreeFormValues} values`;
    if (depth > limits.maxFreeFormDepth) return `deeper than ${limits.maxFreeFormDepth} levels`;
    level = level.flatMap((value) => (typeof value === 'object' && value !== null ? Object.values(value) : []));
  }
  return undefined;
}
