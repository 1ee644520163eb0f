import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Level } from 'level';
import type { ScanMode, ScanResult } from '../../../agent/sigils/scan.ts';
import { parseScanState, type ScanState } from '../../../agent/sigils/scan-state.ts';
import { SigilScanner } from '../../../agent/sigils/scanner.ts';
import type { SigilFinding } from '../../../common/sigil.ts';
import { type MadeRecord, makeSigilRecord } from '../../fakes/sigil-writer.ts';

export const secret = 'test-event-secret';
export const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

/** An empty folder that goes away with the test. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'sigil-store-'));
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }));
  return folder;
}

/** The valid record number `index`, the same every time. */
export function nthRecord(index: number, note = 'fine'): MadeRecord {
  const authHash = createHash('sha256').update(String(index)).digest('hex');
  const data = { index, note, pad: authHash.repeat(3) };
  return makeSigilRecord({
    tenant: 'lyra',
    symbol: `S${index % 7}`,
    authHash,
    secret,
    data,
    updatedAt: '2026-01-01T00:00:00.000Z',
  });
}

export type Store = Level<string, unknown>;

export interface StoreShape {
  readonly compression?: boolean;
  readonly writeBufferSize?: number;
  readonly maxFileSize?: number;
  readonly blockSize?: number;
}

/** Opens a real store, lets `work` use it, closes it. */
export async function withStore(
  path: string,
  work: (db: Store) => Promise<void>,
  shape: StoreShape = {},
): Promise<void> {
  const db: Store = new Level(path, { valueEncoding: 'json', ...shape });
  await db.open();
  try {
    await work(db);
  } finally {
    await db.close();
  }
}

export async function putRecords(db: Store, from: number, to: number): Promise<void> {
  for (let at = from; at < to; at += 100) {
    const count = Math.min(100, to - at);
    await db.batch(Array.from({ length: count }, (_, index) => ({ type: 'put' as const, ...nthRecord(at + index) })));
  }
}

/** Moves everything from the log into tables. */
export async function intoTables(db: Store): Promise<void> {
  // `level` hides what only its LevelDB half can do.
  if (!('compactRange' in db) || typeof db.compactRange !== 'function') throw new Error('level has no compactRange');
  await db.compactRange('\u0000', '\uffff');
}

export function filesEnding(path: string, suffix: string): string[] {
  return readdirSync(path)
    .filter((name) => name.endsWith(suffix))
    .sort();
}

/** Changes one byte of a file in place. */
export function flip(path: string, at: number, mask = 0x40): void {
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(at) ^ mask, at);
  writeFileSync(path, bytes);
}

/** A scanner with its state and open findings, as the agent keeps them: the state goes through JSON between scans. */
export class Watch {
  readonly scanner: SigilScanner;
  open: SigilFinding[] = [];
  state: ScanState | null = null;

  constructor(path: string, secrets: readonly string[] = [secret]) {
    this.scanner = new SigilScanner({ name: 'main', path, secrets, clock });
  }

  async scan(mode: ScanMode): Promise<ScanResult> {
    const result = await this.scanner.scan({ mode, state: this.state, openFindings: this.open });
    this.open = [...this.open.filter((finding) => !result.cleared.includes(finding.id)), ...result.findings];
    this.state = parseScanState(JSON.parse(JSON.stringify(result.state)));
    return result;
  }
}

export function checksOf(findings: readonly SigilFinding[]): string[] {
  return findings.map((finding) => finding.check).sort();
}
