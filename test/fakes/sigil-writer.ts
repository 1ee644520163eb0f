import { createHash, createHmac, randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Level } from 'level';

export interface SigilRecordOptions {
  readonly tenant: string;
  readonly symbol: string;
  /** 64 hex digits; random when absent. */
  readonly authHash?: string;
  readonly secret: string;
  readonly data?: unknown;
  readonly updatedAt?: string;
}

export interface MadeRecord {
  readonly key: string;
  readonly value: Record<string, unknown>;
}

/** A valid tenant record as the program that owns a sigil store writes it, with checksum and signature over its data. */
export function makeSigilRecord(options: SigilRecordOptions): MadeRecord {
  const { tenant, symbol, secret } = options;
  const authHash = options.authHash ?? randomBytes(32).toString('hex');
  const data = options.data ?? { note: `sigil of ${symbol}`, weight: 0.5, tags: ['a', 'b'] };
  const text = JSON.stringify(data);
  const value = {
    id: `${symbol}-${authHash.slice(0, 12)}`,
    tenantId: tenant,
    symbol,
    authHash,
    updatedAt: options.updatedAt ?? new Date().toISOString(),
    data,
    checksum: createHash('sha256').update(text).digest('hex'),
    signature: createHmac('sha256', secret).update(text).digest('hex'),
  };
  return { key: `${tenant}!sigil!${symbol}!${authHash}`, value };
}

export interface WriterOptions {
  readonly dir: string;
  readonly tenant: string;
  readonly secret: string;
  /** Records per second; 0 writes as fast as the store takes them. */
  readonly rate: number;
  /** Stop after so many writes; 0 goes on until the signal. */
  readonly count: number;
  /** Share of writes that replace an earlier record, 0 to 1. */
  readonly overwrite: number;
  readonly compression: boolean;
  /** How much the store gathers before it makes a table; small ones make it rewrite files all the time. */
  readonly writeBufferBytes: number;
  readonly signal: AbortSignal;
  /** After the first batch is in the store. */
  readonly onReady?: () => void;
}

/** Writes valid records until told to stop, then closes the store. Resolves to how many were written under how many keys. */
export async function runSigilWriter(options: WriterOptions): Promise<{ written: number; keys: number }> {
  const { rate, count, signal } = options;
  const db = new Level<string, unknown>(options.dir, {
    valueEncoding: 'json',
    compression: options.compression,
    writeBufferSize: options.writeBufferBytes,
  });
  await db.open();
  const hashes: string[] = [];
  const startedMs = performance.now();
  let written = 0;
  while (!signal.aborted && (count === 0 || written < count)) {
    const due = rate === 0 ? written + 50 : Math.ceil(((performance.now() - startedMs) / 1000) * rate);
    const size = Math.min(due - written, 50, count === 0 ? 50 : count - written);
    if (size > 0) await db.batch(Array.from({ length: size }, () => nextOperation(options, hashes)));
    written += Math.max(0, size);
    if (written > 0 && written === size) options.onReady?.();
    if (rate > 0 && due <= written) await wait(Math.min(1000 / rate, 200), undefined, { signal }).catch(() => {});
  }
  await db.close();
  return { written, keys: hashes.length };
}

function nextOperation(options: WriterOptions, hashes: string[]) {
  const again = hashes.length > 0 && Math.random() < options.overwrite;
  const known = hashes[Math.floor(Math.random() * hashes.length)];
  const authHash = again && known !== undefined ? known : randomBytes(32).toString('hex');
  if (authHash !== known || !again) hashes.push(authHash);
  const symbol = `SYM${authHash.slice(0, 2)}`;
  return { type: 'put' as const, ...makeSigilRecord({ ...options, symbol, authHash }) };
}

/** The writer as a program, by its command line, until SIGINT or SIGTERM. */
export async function writeByCommandLine(): Promise<void> {
  const { values } = parseArgs({
    options: {
      dir: { type: 'string' },
      tenant: { type: 'string', default: 'lyra' },
      secret: { type: 'string', default: 'demo-event-secret' },
      rate: { type: 'string', default: '20' },
      count: { type: 'string', default: '0' },
      overwrite: { type: 'string', default: '0' },
      'write-buffer-kib': { type: 'string', default: '4096' },
      'no-compression': { type: 'boolean', default: false },
    },
  });
  if (values.dir === undefined) throw new Error('--dir DIR is missing: the folder of the store to write');
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  const result = await runSigilWriter({
    dir: values.dir,
    tenant: values.tenant,
    secret: values.secret,
    rate: Number(values.rate),
    count: Number(values.count),
    overwrite: Number(values.overwrite),
    compression: !values['no-compression'],
    writeBufferBytes: Number(values['write-buffer-kib']) * 1024,
    signal: stop.signal,
    onReady: () => console.log('{"ready":true}'),
  });
  console.log(JSON.stringify(result));
}
