import { limits } from '../../common/limits.ts';

export interface Pace {
  readonly witnessRoundMs: number;
  readonly witnessShareMs: number;
  readonly maxWitnessRoundMs: number;
}

/**
 * How far apart rounds begin that nobody waits for, milliseconds. Each costs a proof, a signature to check and a row for each witness:
 * a thousand of them every second would keep a collector busy with nothing else.
 */
export function roundEveryMs(witnesses: number, pace: Pace = limits): number {
  const { witnessRoundMs, witnessShareMs, maxWitnessRoundMs } = pace;
  return Math.max(witnessRoundMs, Math.min(maxWitnessRoundMs, witnesses * witnessShareMs));
}
