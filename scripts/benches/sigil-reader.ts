/**
 * Reads a sigil store in one way: `sigil-reader.ts raw|plain|checksums|two-threads|signatures FOLDER [SECRET]`. A process of its own, so that
 * time and memory are those of this way alone. Says `ready`, and answers each line it is sent with one line of JSON.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { Level } from 'level';
import { systemClock } from '../../agent/clock.ts';
import type { ScanMode, ScanResult } from '../../agent/sigils/scan.ts';
import { SigilScanner } from '../../agent/sigils/scanner.ts';

/** What a reading came to. */
export interface Reading {
  /** Of this process: 1, 2, ... */
  readonly nth: number;
  readonly records: number;
  /** Records that are not as they should be. */
  readonly bad: number;
  readonly wallMs: number;
  /** Of all threads. */
  readonly cpuMs: number;
}

type Read = () => Promise<Pick<Reading, 'records' | 'bad'>>;

const pageRecords = 1_000;
const pageBytes = 1024 * 1024;

/** As fast as `level` gives them: text, unparsed, in large pages. */
function raw(dir: string): Read {
  return async () => {
    const db = new Level<string, string>(dir);
    await db.open({ createIfMissing: false });
    const iterator = db.iterator({ highWaterMarkBytes: pageBytes });
    let records = 0;
    for (;;) {
      const page = await iterator.nextv(pageRecords);
      if (page.length === 0) break;
      records += page.length;
    }
    await iterator.close();
    await db.close();
    return { records, bad: 0 };
  };
}

/** What one writes who has to check a store and does not think about it for long. */
function plain(dir: string): Read {
  return async () => {
    const db = new Level<string, { readonly data?: unknown; readonly checksum?: string }>(dir, {
      valueEncoding: 'json',
    });
    await db.open({ createIfMissing: false });
    let records = 0;
    let bad = 0;
    for await (const [, record] of db.iterator()) {
      records += 1;
      const text = JSON.stringify(record.data ?? {});
      if (createHash('sha256').update(text).digest('hex') !== record.checksum) bad += 1;
    }
    await db.close();
    return { records, bad };
  };
}

/** Everything the first time, then what is new. */
function scan(dir: string, how: { readonly secrets: readonly string[]; readonly threads: number }): Read {
  const threadFile = pathToFileURL(join(import.meta.dirname, '../../dist/sigil-thread.js'));
  const scanner = new SigilScanner({ name: 'bench', path: dir, clock: systemClock, threadFile, ...how });
  let before: ScanResult | undefined;
  return async () => {
    const mode: ScanMode = before === undefined ? 'full' : 'incremental';
    before = await scanner.scan({ mode, state: before?.state ?? null, openFindings: [] });
    return { records: before.records, bad: before.findings.length + before.moreFindings };
  };
}

function readerOf(way: string | undefined, dir: string, secret: string): Read {
  switch (way) {
    case 'raw':
      return raw(dir);
    case 'plain':
      return plain(dir);
    case 'checksums':
      return scan(dir, { secrets: [], threads: 1 });
    case 'two-threads':
      return scan(dir, { secrets: [], threads: 2 });
    case 'signatures':
      return scan(dir, { secrets: [secret], threads: 1 });
    default:
      throw new Error(`${way} is no way to read a store`);
  }
}

const [way, dir = '', secret = ''] = process.argv.slice(2);
const read = readerOf(way, dir, secret);
const orders = createInterface({ input: process.stdin });
process.once('SIGTERM', () => process.exit(0));
let nth = 0;
process.stdout.write('ready\n');
for await (const _ of orders) {
  const [beganMs, began] = [performance.now(), process.cpuUsage()];
  const counts = await read();
  const { user, system } = process.cpuUsage(began);
  nth += 1;
  const reading: Reading = { nth, ...counts, wallMs: performance.now() - beganMs, cpuMs: (user + system) / 1_000 };
  process.stdout.write(`${JSON.stringify(reading)}\n`);
}
