import { createHash } from 'node:crypto';
import type { AcceptedChange } from '../../../agent/sigils/inventory/accepted.ts';
import type { ScanMode, ScanResult } from '../../../agent/sigils/scan.ts';
import { parseScanState, type ScanState } from '../../../agent/sigils/scan-state.ts';
import { storeScanner } from '../../../agent/store-scanner.ts';
import type { TablePlace } from '../../../agent/tables/table-settings.ts';
import type { SigilFinding } from '../../../common/sigil.ts';
import { makeSigilRecord } from '../../fakes/sigil-writer.ts';
import type { TestPostgres } from '../../postgres.ts';

export const secret = 'table-event-secret';
export const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

export const columns = {
  tenant: 'tenant',
  symbol: 'symbol',
  authHash: 'auth_hash',
  record: 'record',
  checksum: 'checksum',
  signature: 'signature',
  updatedAt: 'updated_at',
} as const;

/** A table of sigils, its owner, and a role that can only read it. */
export interface SigilTable {
  readonly place: TablePlace;
  readonly ownerUrl: string;
  /** The role that reads. */
  readonly role: string;
  /** As the owner. */
  sql(text: string, values?: readonly unknown[]): Promise<readonly Record<string, unknown>[]>;
  /** Adds the valid records `from` to `to`, the last one aside. */
  put(from: number, to: number): Promise<void>;
}

export interface TableShape {
  readonly recordType?: string;
  readonly key?: string;
}

export async function sigilTable(
  postgres: Pick<TestPostgres, 'emptyDatabase' | 'stranger' | 'pool'>,
  { recordType = 'json', key = 'primary key (tenant, symbol, auth_hash)' }: TableShape = {},
): Promise<SigilTable> {
  const ownerUrl = await postgres.emptyDatabase();
  const url = await postgres.stranger(ownerUrl);
  const role = new URL(url).username;
  const owner = postgres.pool(ownerUrl);
  await owner.query(`
    create schema "App";
    create table "App".sigils (tenant text not null, symbol text not null, auth_hash text not null, record ${recordType},
      checksum text, signature text, updated_at timestamptz not null default now(), ${key});
    create index on "App".sigils (updated_at);
    grant usage on schema "App" to ${role};
    grant select on "App".sigils to ${role}`);
  const sql = async (text: string, values: readonly unknown[] = []) => (await owner.query(text, [...values])).rows;
  return {
    place: { url, table: 'App.sigils', columns },
    ownerUrl,
    role,
    sql,
    put: async (from, to) => {
      const rows = Array.from({ length: to - from }, (_, index) => nthRow(from + index));
      await sql(
        `insert into "App".sigils select tenant, symbol, auth_hash, ${recordType === 'bytea' ? "convert_to(record, 'UTF8')" : `record::${recordType}`}, checksum, signature
         from jsonb_to_recordset($1) as r(tenant text, symbol text, auth_hash text, record text, checksum text, signature text)`,
        [JSON.stringify(rows)],
      );
    },
  };
}

/** The valid record number `index`, the same every time. */
export function nthRow(index: number) {
  const authHash = createHash('sha256').update(String(index)).digest('hex');
  const { value } = makeSigilRecord({
    ...{ tenant: 'lyra', symbol: `S${index % 7}`, authHash, secret },
    data: { a: index, bb: 'ö"\\', ccc: [1.5, null] },
    updatedAt: '2026-01-01T00:00:00.000Z',
  });
  const { checksum, signature, ...rest } = value;
  // Half of the records leave checksum and signature to the columns.
  const record = JSON.stringify(index % 2 === 0 ? value : rest);
  return { tenant: 'lyra', symbol: `S${index % 7}`, auth_hash: authHash, record, checksum, signature };
}

/** Scans a table as the agent does: with its state, through JSON, and the findings that stand. */
export class TableWatch {
  open: SigilFinding[] = [];
  state: ScanState | null = null;
  /** What its owner has meant, for the next full scan. */
  accepted: readonly AcceptedChange[] = [];
  private readonly place: TablePlace;
  private readonly inventory: string | undefined;

  /** @param inventory the file of one, which is kept; without, none is taken */
  constructor(place: TablePlace, inventory?: string) {
    this.place = place;
    this.inventory = inventory;
  }

  /** @param afterPage waited for after each page */
  async scan(mode: ScanMode, onProgress?: () => void, afterPage?: () => Promise<void>): Promise<ScanResult> {
    let pages = 0;
    const pause = async () => {
      if (pages > 0) await afterPage?.();
    };
    const place = { postgres: this.place };
    const options = { name: 'rows', place, secrets: [secret], clock };
    const scanner = storeScanner(afterPage === undefined ? options : { ...options, pause });
    const { state, inventory: path, accepted } = this;
    const result = await scanner.scan({
      ...{ mode, state, openFindings: this.open },
      ...(path !== undefined && { inventory: { path, keeps: true, accepted } }),
      onProgress: () => {
        pages++;
        onProgress?.();
      },
    });
    await result.inventory?.keep();
    this.open = [...this.open.filter(({ id }) => !result.cleared.includes(id)), ...result.findings];
    this.state = parseScanState(JSON.parse(JSON.stringify(result.state)));
    return result;
  }
}

/** `check symbol`, sorted. */
export function checksOf(findings: readonly SigilFinding[]): string[] {
  return findings.map(({ check, key }) => `${check} ${/"symbol":"([^"]*)"/.exec(key ?? '')?.[1] ?? ''}`.trim()).sort();
}
