import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Level } from 'level';
import { fromSource } from '../../from-source.ts';
import { secret } from './stores.ts';

const writerFile = new URL('../../fakes/sigil-writer-process.ts', import.meta.url).pathname;

export interface Writer {
  readonly process: ChildProcess;
  readonly line: () => Promise<string>;
}

/** Runs the writer beside `work`; when this settles the writer has ended. */
export async function withWriter<T>(path: string, args: string[], work: (writer: Writer) => Promise<T>): Promise<T> {
  const all = [...fromSource(writerFile), '--dir', path, '--secret', secret, ...args];
  const child = spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => (await lines.next()).value ?? '';
  try {
    await line();
    const result = await work({ process: child, line });
    if (!child.killed) child.kill('SIGTERM');
    await ended;
    return result;
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

export async function countKeys(path: string): Promise<number> {
  const db = new Level(path);
  await db.open();
  let keys = 0;
  for await (const _ of db.keys()) keys++;
  await db.close();
  return keys;
}
