/** The only way domain code learns the time. `now` is wall-clock Unix milliseconds; `monotonicMs` never goes back. */
export interface Clock {
  now(): number;
  monotonicMs(): number;
}

/** RFC 3339 UTC with milliseconds, the one timestamp form in entries, APIs and logs. */
export function rfc3339(unixMs: number): string {
  return new Date(unixMs).toISOString();
}
