import type { EntryArena } from './inventory/arena.ts';
import type { Suspect } from './record-sieve.ts';
import type { TableProblem } from './table-reader.ts';
import type { KeyRange } from './table-scan.ts';
import type { LiveTable } from './version-edit.ts';

/** What a thread is made with. */
export interface ThreadData {
  /** The store's folder. */
  readonly path: string;
  readonly secrets: readonly string[];
  /** Whether all versions of sigils are wanted, for an inventory. */
  readonly versions: boolean;
}

/** To a thread: a table to check, one at a time, and that a part of its answer has been dealt with. */
export type ToThread =
  | { readonly kind: 'table'; readonly name: string; readonly table: LiveTable }
  | { readonly kind: 'go_on' };

export interface FoundProblem {
  readonly problem: TableProblem;
  readonly range: KeyRange | null;
}

/** What was found since the last part. */
export interface Part {
  readonly suspects: readonly Suspect[];
  readonly problems: readonly FoundProblem[];
  /** Entries, one after the other, as {@link EntryArena.takeBytes} gives them. */
  readonly versions: Uint8Array;
  readonly blocks: number;
  readonly bytes: number;
  readonly records: number;
  readonly sigils: number;
}

/** From a thread: a part is answered with `go_on`, so that what waits to be dealt with stays small; the others end the table. */
export type FromThread =
  | { readonly kind: 'part'; readonly part: Part }
  | { readonly kind: 'done'; readonly part: Part; readonly fingerprint: string }
  | { readonly kind: 'gone' }
  | { readonly kind: 'unreadable'; readonly message: string };

/** Bytes that have travelled between threads have lost what makes them a buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
