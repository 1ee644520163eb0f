import { hash } from 'node:crypto';
import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';
import type { Standing } from './standing.ts';

/** Where the outbox stood after a batch. */
export interface Mark {
  /** Number of the last acknowledged batch; 0 for none. */
  readonly write: number;
  /** Numbers of the last entry and of the last acknowledged one; undefined where they were not noted. */
  readonly seqs: { readonly head: number; readonly acked: number } | undefined;
}

/**
 * The number of the last acknowledged batch, in a file of its own beside LevelDB. LevelDB drops the end of a damaged log
 * without a word and opens as if those writes had never been; a number that runs ahead of the database tells. What was
 * numbered by then tells how many entries went with them.
 *
 * It is written after the batch and never synced, so after a power cut it may lag, which hides nothing LevelDB promised
 * to have synced, and it can never run ahead by itself.
 */
export interface WriteMark {
  /** Of write 0 when there is none, or none that can be read. */
  readonly mark: Mark;
  set(standing: Pick<Standing, 'write' | 'head' | 'acked'>): void;
  close(): void;
}

const digits = 16;
const none: Mark = { write: 0, seqs: undefined };

export function openWriteMark(path: string): WriteMark {
  let mark = parse(readIfThere(path));
  // Never truncated: the old numbers stand until they are overwritten in place.
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  return {
    get mark() {
      return mark;
    },
    set({ write, head, acked }) {
      mark = { write, seqs: { head: head.seq, acked: acked.seq } };
      try {
        writeSync(fd, format(write, head.seq, acked.seq), 0);
      } catch {
        // A mark that lags is safe.
      }
    },
    close: () => closeSync(fd),
  };
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function format(...numbers: readonly number[]): string {
  const text = numbers.map((number) => String(number).padStart(digits, '0')).join(' ');
  return `${text} ${hash('sha256', text, 'hex')}\n`;
}

/** Version 0.1 noted the first number alone. */
function parse(text: string): Mark {
  const numbers = text.split(' ').slice(0, -1).map(Number);
  if (!numbers.every(Number.isSafeInteger) || format(...numbers) !== text) return none;
  const [write = 0, head, acked] = numbers;
  return { write, seqs: head === undefined || acked === undefined ? undefined : { head, acked } };
}
