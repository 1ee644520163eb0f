import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** What a program asked of the file system, as `journal.c` writes it down. `file` is an open file, `path` is absolute. */
export type Step =
  | { readonly type: 'open'; readonly file: bigint; readonly path: string; creates: boolean; truncates: boolean }
  | { readonly type: 'write'; readonly file: bigint; readonly at: number; readonly bytes: Buffer }
  | { readonly type: 'size'; readonly file: bigint; readonly size: number }
  | { readonly type: 'sync-begins' | 'sync-ends'; readonly file: bigint; readonly thread: bigint }
  | { readonly type: 'rename' | 'link'; readonly from: string; readonly path: string }
  | { readonly type: 'remove' | 'folder'; readonly path: string };

/** Builds the library that is preloaded. @returns its path, or why there is none. @throws when it cannot be built */
export function buildJournal(dir: string): { readonly library: string } | { readonly skip: string } {
  const library = join(dir, 'journal.so');
  const source = join(import.meta.dirname, 'journal.c');
  const built = spawnSync('gcc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl', '-pthread'], {
    encoding: 'utf8',
  });
  if (built.error !== undefined) return { skip: 'no C compiler is here (packages gcc, libc6-dev)' };
  if (built.status !== 0) throw new Error(`gcc: ${built.stderr.trim()}`);
  return { library };
}

/** Environment variables by which a program keeps a journal of what it does below `root`. */
export function journalled(library: string, root: string, journal: string): Record<string, string> {
  return { LD_PRELOAD: library, SIGILWATCH_JOURNAL_ROOT: root, SIGILWATCH_JOURNAL: journal };
}

/** Runs Node.js on `args` to its end. @returns what it did below `root`. @throws when it fails */
export async function recorded(library: string, root: string, args: readonly string[]): Promise<Step[]> {
  const journal = `${root}.journal`;
  rmSync(journal, { force: true });
  const env = { ...process.env, ...journalled(library, root, journal) };
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], env });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${complaint}`);
  const steps = [...parseJournal(readFileSync(journal))];
  rmSync(journal);
  return steps;
}

const headBytes = 25;

export function* parseJournal(bytes: Buffer): Generator<Step> {
  for (let at = 0; at + headBytes <= bytes.length; ) {
    const kind = String.fromCharCode(bytes[at] ?? 0);
    const [aBytes, bBytes] = [bytes.readUInt32LE(at + 1), bytes.readUInt32LE(at + 5)];
    const [x, y] = [bytes.readBigInt64LE(at + 9), bytes.readBigInt64LE(at + 17)];
    const a = bytes.subarray(at + headBytes, at + headBytes + aBytes);
    const b = bytes.subarray(at + headBytes + aBytes, at + headBytes + aBytes + bBytes);
    yield stepOf(kind, { a, b, x, y });
    at += headBytes + aBytes + bBytes;
  }
}

function stepOf(kind: string, { a, b, x, y }: { a: Buffer; b: Buffer; x: bigint; y: bigint }): Step {
  const path = a.toString();
  switch (kind) {
    case 'o':
      return { type: 'open', file: x, path, creates: (y & 1n) !== 0n, truncates: (y & 2n) !== 0n };
    case 'w':
      return { type: 'write', file: x, at: Number(y), bytes: a };
    case 't':
      return { type: 'size', file: x, size: Number(y) };
    case 'b':
    case 'e':
      return { type: kind === 'b' ? 'sync-begins' : 'sync-ends', file: x, thread: y };
    case 'r':
    case 'l':
      return { type: kind === 'r' ? 'rename' : 'link', from: path, path: b.toString() };
    case 'u':
    case 'm':
      return { type: kind === 'u' ? 'remove' : 'folder', path };
    default:
      throw new Error(`the journal is damaged: kind ${kind}`);
  }
}
