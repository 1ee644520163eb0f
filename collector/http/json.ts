/**
 * The API speaks snake_case, like the columns behind it. Signed statements (`entry` in `/api/v1/entries`) are the one
 * exception: they are shown as they were signed.
 *
 * Returns a copy of `value` with all member names in snake_case. Only for values whose names come from our schemas.
 */
export function snakeCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeCased);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [snakeCase(name), snakeCased(member)]));
}

function snakeCase(name: string): string {
  return name.replace(/[a-z0-9](?=[A-Z])/g, '$&_').toLowerCase();
}
