import { hash } from 'node:crypto';
import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';

/**
 * The number of the last acknowledged batch, in a file of its own beside LevelDB. LevelDB drops the end of a damaged log
 * without a word and opens as if those writes had never been; a number that runs ahead of the database tells.
 *
 * It is written after the batch and never synced, so after a power cut it may lag, which hides nothing LevelDB promised
 * to have synced, and it can never run ahead by itself.
 */
export interface WriteMark {
  /** 0 when there is none, or none that can be read. */
  readonly write: number;
  set(write: number): void;
  close(): void;
}

const digits = 16;

export function openWriteMark(path: string): WriteMark {
  let write = parse(readIfThere(path));
  // Never truncated: the old number stands until it is overwritten in place.
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  return {
    get write() {
      return write;
    },
    set(next) {
      write = next;
      try {
        writeSync(fd, format(next), 0);
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

function format(write: number): string {
  const number = String(write).padStart(digits, '0');
  return `${number} ${hash('sha256', number, 'hex')}\n`;
}

function parse(text: string): number {
  const write = Number(text.slice(0, digits));
  return Number.isSafeInteger(write) && format(write) === text ? write : 0;
}
