/**
 * The program that owns a sigil store: writes valid records until SIGTERM or the end of its input. Each line of input is a
 * command, answered with a line that repeats its `id`:
 * `{"id":1,"command":"counts"}` and `{"id":2,"command":"wrong-checksum"}`.
 */
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { Level } from 'level';
import { z } from 'zod';
import { makeSigilRecord } from '../fakes/sigil-writer.ts';

const maxBatchRecords = 50;
const pauseMs = 50;

const { dir, tenant, secret, rate } = z
  .object({ dir: z.string(), tenant: z.string(), secret: z.string(), rate: z.number() })
  .parse(JSON.parse(process.argv[2] ?? '{}'));
const command = z.object({ id: z.number(), command: z.enum(['counts', 'wrong-checksum']) });

const db = new Level<string, unknown>(dir, { valueEncoding: 'json' });
const stopping = new AbortController();
const stop = () => stopping.abort();
const lines = createInterface({ input: process.stdin });
let written = 0;

function say(answer: object): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

function nextRecord() {
  return makeSigilRecord({ tenant, secret, symbol: `SYM${written % 100}` });
}

async function writeWrongChecksum(): Promise<string> {
  const { key, value } = nextRecord();
  const checksum = createHash('sha256').update('other data').digest('hex');
  await db.put(key, { ...value, checksum });
  written += 1;
  return key;
}

async function obey(line: string): Promise<void> {
  const asked = command.parse(JSON.parse(line));
  // Every record has a key of its own.
  if (asked.command === 'counts') say({ id: asked.id, written, keys: written });
  else say({ id: asked.id, key: await writeWrongChecksum() });
}

async function writeOn(startedMs: number): Promise<void> {
  const due = rate === 0 ? maxBatchRecords : Math.ceil(((performance.now() - startedMs) / 1000) * rate) - written;
  const records = Array.from({ length: Math.min(due, maxBatchRecords) }, nextRecord);
  await db.batch(records.map((record) => ({ type: 'put' as const, ...record })));
  written += records.length;
  if (rate > 0) await wait(pauseMs, undefined, { signal: stopping.signal }).catch(() => {});
}

for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, stop);
lines.once('close', stop);
await db.open();
const startedMs = performance.now();
await writeOn(startedMs);
say({ ready: true });
lines.on('line', (line) => void obey(line));
while (!stopping.signal.aborted) await writeOn(startedMs);
lines.close();
await db.close();
process.stdin.destroy();
