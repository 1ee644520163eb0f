/*
 * The few questions about JSON that the executor has to ask by hand: it holds the engine's socket, and every library in it
 * would hold it too.
 */

export type Members = Readonly<Record<string, unknown>>;

/** Undefined for what is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The members of an object, or undefined for anything else, lists included. */
export function membersOf(value: unknown): Members | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.fromEntries(Object.entries(value));
}

/** As {@link membersOf}, for an object with exactly these names in exactly this order. */
export function exactMembers(value: unknown, names: readonly string[]): Members | undefined {
  const members = membersOf(value);
  if (members === undefined) return undefined;
  const found = Object.keys(members);
  return found.length === names.length && found.every((name, at) => name === names[at]) ? members : undefined;
}

/** Whether two values say the same, whatever the order of their members. */
export function isSame(a: unknown, b: unknown): boolean {
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((one, at) => isSame(one, b[at]));
  const [left, right] = [membersOf(a), membersOf(b)];
  if (left === undefined || right === undefined) return a === b;
  const names = Object.keys(left);
  if (names.length !== Object.keys(right).length) return false;
  return names.every((name) => Object.hasOwn(right, name) && isSame(left[name], right[name]));
}

export function isText(value: unknown, maxChars: number): value is string {
  return typeof value === 'string' && value.length <= maxChars;
}

export function isMatch(value: unknown, pattern: RegExp): value is string {
  return typeof value === 'string' && pattern.test(value);
}

export function isCount(value: unknown, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max;
}
