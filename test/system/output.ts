import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as delay } from 'node:timers/promises';

const lookAgainMs = 10;
const keptLines = 5_000;
const shownLines = 12;

/** How a program ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What a program has printed, and goes on printing. */
export interface Output {
  /** For the program to write to. */
  readonly file: number;
  /** The last few thousand. */
  lines(): readonly string[];
  close(): void;
}

/**
 * Output goes to a file, not a pipe: a program whose reader was killed must still be able to say goodbye and end in order.
 * The file has no name any more, so nothing has to remove it.
 */
export function keepOutput(): Output {
  const path = join(tmpdir(), `sgw-output-${randomUUID()}`);
  const file = openSync(path, 'ax+', 0o600);
  rmSync(path);
  const decoder = new StringDecoder('utf8');
  const chunk = Buffer.alloc(64 * 1024);
  let kept: string[] = [];
  let rest = '';
  let position = 0;
  let open = true;
  const lines = (): readonly string[] => {
    for (let bytes = -1; open && bytes !== 0; position += bytes) {
      bytes = readSync(file, chunk, 0, chunk.length, position);
      const [first = '', ...more] = decoder.write(chunk.subarray(0, bytes)).split('\n');
      const whole = [rest + first, ...more];
      rest = whole.pop() ?? '';
      kept = [...kept, ...whole].slice(-keptLines);
    }
    return kept;
  };
  const close = () => {
    lines();
    open = false;
    closeSync(file);
  };
  return { file, lines, close };
}

interface Search<T> {
  readonly what: string;
  readonly pick: (line: string) => T | undefined;
  readonly deadlineMs: number;
  readonly lines: () => readonly string[];
  readonly exit: () => Exit | undefined;
}

/** The first value that `pick` finds in a line, past or to come. @throws when the program ends or the deadline passes first. */
export async function find<T>({ what, pick, deadlineMs, lines, exit }: Search<T>): Promise<T> {
  const giveUpAt = performance.now() + deadlineMs;
  for (;;) {
    const ended = exit();
    for (const line of lines()) {
      const found = pick(line);
      if (found !== undefined) return found;
    }
    if (ended !== undefined) throw failure(`${what}: the program ended with ${ended.signal ?? ended.code}`, lines());
    if (performance.now() > giveUpAt) throw failure(`${what}: not within ${deadlineMs} ms`, lines());
    await delay(lookAgainMs);
  }
}

/** An error that shows the last of `lines`. */
export function failure(message: string, lines: readonly string[]): Error {
  const last = lines.slice(-shownLines).map((line) => `  ${line.slice(0, 1_000)}`);
  return new Error(`${message}; its last lines:\n${last.join('\n') || '  (none)'}`);
}
