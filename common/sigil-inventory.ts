/**
 * Checks of a sigil against what a store held at its last full scan. `vanished`: a key has no record any more; `rolled_back`: its record
 * is older than one that stood there before; `duplicate`: it stands under an old key form beside the new one.
 */
export const inventoryChecks = ['vanished', 'rolled_back', 'duplicate'] as const;

/** Those that say what an owner may have done on purpose, once and for all. */
export const acceptableChecks = ['vanished', 'rolled_back'] as const;

export type InventoryCheck = (typeof inventoryChecks)[number];

/** What an inventory keeps of a sound record. Empty text: the record has none. */
export interface SigilFacts {
  readonly id: string;
  /** As it stands in the record; a number in decimal digits. */
  readonly updatedAt: string;
}

export const noFacts: SigilFacts = Object.freeze({ id: '', updatedAt: '' });

/** @param value a record that passes all checks; anything else has no facts */
export function sigilFacts(value: Buffer): SigilFacts {
  const record = parsed(value);
  if (typeof record !== 'object' || record === null) return noFacts;
  const own = (name: string): unknown => (Object.hasOwn(record, name) ? Reflect.get(record, name) : undefined);
  const [id, updatedAt] = [own('id'), own('updatedAt')];
  return {
    id: typeof id === 'string' ? id : '',
    updatedAt: typeof updatedAt === 'string' || typeof updatedAt === 'number' ? String(updatedAt) : '',
  };
}

function parsed(value: Buffer): unknown {
  try {
    return JSON.parse(value.toString('utf8'));
  } catch {
    return undefined;
  }
}

const numberText = /^-?\d{1,15}(?:\.\d{1,15})?$/;
/** RFC 3339, or a date alone: nothing whose meaning depends on where it is read. */
const timeText = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d))?$/;
/** A number below is taken for seconds when it has to be compared with a date, one from here on for milliseconds. */
const firstMilliseconds = 1e11;

/**
 * Compares two `updatedAt` with each other, never with a clock.
 * @returns below 0 when `left` is older, 0 when neither is; undefined when that cannot be told
 */
export function compareTimes(left: string, right: string): number | undefined {
  if (left === right) return isTime(left) ? 0 : undefined;
  const [leftIsNumber, rightIsNumber] = [numberText.test(left), numberText.test(right)];
  if (leftIsNumber && rightIsNumber) return Math.sign(Number(left) - Number(right));
  const order = Math.sign(millisecondsOf(left, leftIsNumber) - millisecondsOf(right, rightIsNumber));
  return Number.isNaN(order) ? undefined : order;
}

/** Whether it can be compared with others. */
export function isTime(text: string): boolean {
  return !Number.isNaN(millisecondsOf(text, numberText.test(text)));
}

/** The later of the two, as far as they can be compared; else the one before. */
export function laterTime(before: string, now: string): string {
  if (!isTime(before)) return now;
  return (compareTimes(before, now) ?? 0) < 0 ? now : before;
}

function millisecondsOf(text: string, isNumber: boolean): number {
  if (!isNumber) return timeText.test(text) ? Date.parse(text) : Number.NaN;
  const value = Number(text);
  return Math.abs(value) < firstMilliseconds ? value * 1_000 : value;
}
