import { setTimeout as delay } from 'node:timers/promises';

/** One look: what was wanted, or what was there instead. */
export type Look<T> = { readonly seen: T } | { readonly evidence: unknown };

export interface Wanted<T> {
  /** What is waited for, for the person who has to find out why it did not come. */
  readonly expected: string;
  /** When the cause was set, `performance.now()`. */
  readonly since: number;
  readonly deadlineMs?: number;
  readonly look: () => Promise<Look<T>>;
}

export interface Sighting<T> {
  readonly value: T;
  /** From the cause to the end of the look that saw it. */
  readonly afterMs: number;
}

const defaultDeadlineMs = 60_000;
/** At first; less often the longer it takes, since whoever is asked has other things to do. */
const lookAgainMs = 15;
const maxLookAgainMs = 250;

/** Something that had to be seen, and was not. */
export class NotObserved extends Error {
  readonly expected: string;
  /** What the last look saw. */
  readonly evidence: unknown;

  constructor(expected: string, evidence: unknown) {
    super(`not observed: ${expected}`);
    this.expected = expected;
    this.evidence = evidence;
  }
}

/** Looks again and again until it is there. @throws NotObserved with the last look's evidence. */
export async function observe<T>({ expected, since, deadlineMs, look }: Wanted<T>): Promise<Sighting<T>> {
  const waitMs = deadlineMs ?? defaultDeadlineMs;
  const begun = performance.now();
  const giveUpAt = begun + waitMs;
  for (;;) {
    const outcome = await look().catch((error: unknown): Look<T> => ({ evidence: messageOf(error) }));
    const now = performance.now();
    if ('seen' in outcome) return { value: outcome.seen, afterMs: Math.round(now - since) };
    if (now > giveUpAt) throw new NotObserved(`${expected}, within ${waitMs} ms`, outcome.evidence);
    await delay(Math.min(Math.max(lookAgainMs, (now - begun) / 20), maxLookAgainMs));
  }
}

/** What was found, or else the evidence: the common form of a look. */
export function found<T>(item: T | undefined, evidence: unknown): Look<T> {
  return item === undefined ? { evidence } : { seen: item };
}

/** What must be so already. @throws NotObserved. */
export function demand(expected: string, holds: boolean, evidence: unknown): void {
  if (!holds) throw new NotObserved(expected, evidence);
}

/** What went wrong, in one line. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n')[0] ?? text;
}
