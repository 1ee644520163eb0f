import type { SettingIssue } from './issue.ts';

/** A value somebody set, before the schema has judged it. */
export interface FoundValue {
  readonly value: unknown;
  /** Where the member at `path` inside the value was written: `env NAME` or `file path:line:column`. */
  sourceOf(path: readonly PropertyKey[]): string;
}

/** What one source (environment or file) has to say. */
export interface Reading {
  /** By dotted key. */
  readonly found: ReadonlyMap<string, FoundValue>;
  readonly issues: readonly SettingIssue[];
  /** False when the source could not be read to its end, so a missing key proves nothing. */
  readonly complete: boolean;
}
