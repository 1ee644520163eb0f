import { setImmediate as immediate } from 'node:timers/promises';
import type { Clock } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { SigilChecker } from '../../common/sigil.ts';
import { InventoryTaking } from '../sigils/inventory/taking.ts';
import { oneScanAtATime } from '../sigils/one-scan.ts';
import { Pacer } from '../sigils/pacer.ts';
import type { ScanRequest, ScanResult, StoreScanner } from '../sigils/scan.ts';
import { lookAtTable, requireReadOnly, type TableLook } from './catalog-store.ts';
import { connectTable, quoted, type TableConnection } from './connection.ts';
import { isRecordColumn, updatedKindOf } from './rows-store.ts';
import { TableRun } from './table-run.ts';
import type { TablePlace } from './table-settings.ts';

export interface TableScannerOptions {
  readonly name: string;
  readonly place: TablePlace;
  /** Event secrets in force, none to two. */
  readonly secrets: readonly string[];
  readonly clock: Clock;
  readonly pause?: (() => Promise<void>) | undefined;
}

/** Checks one sigil store that is a table. Holds a connection only while it scans, and can do nothing in it but read. */
export class TableScanner implements StoreScanner {
  readonly name: string;
  private readonly place: TablePlace;
  private readonly checker: SigilChecker;
  private readonly clock: Clock;
  private readonly pause: () => Promise<void>;
  private readonly alone: (request: ScanRequest) => Promise<ScanResult>;

  /** @throws AppError `validation.config` for secrets that cannot be used */
  constructor({ name, place, secrets, clock, pause }: TableScannerOptions) {
    this.name = name;
    this.place = place;
    this.checker = new SigilChecker({ secrets });
    this.clock = clock;
    this.pause = pause ?? (() => immediate());
    this.alone = oneScanAtATime(name, clock, (request) => this.run(request));
  }

  /**
   * Damage in the table is in the result, not thrown.
   * @throws AppError `store.missing`, `store.not_a_store`, `store.unreadable`, `validation.config` (a role that can write, columns),
   *   `state.busy` while another scan of this store runs; or the signal's reason
   */
  scan(request: ScanRequest): Promise<ScanResult> {
    return this.alone(request);
  }

  /** Null where no inventory is wanted, or the scan would see too little for one, or the table can have none. */
  private async takingFor({ mode, inventory, signal }: ScanRequest, look: TableLook): Promise<InventoryTaking | null> {
    if (mode !== 'full' || inventory === undefined || !hasLastingKeys(this.place, look)) return null;
    const pacer = new Pacer(this.clock, this.pause, signal);
    return InventoryTaking.begin({ ...inventory, store: inventoryName(this.name, look), pacer });
  }

  private async run(request: ScanRequest) {
    const { name: store, place, checker, clock, pause } = this;
    const connection = await connectTable(place);
    const stop = () => void connection.end();
    request.signal?.addEventListener('abort', stop);
    let taking: InventoryTaking | null = null;
    try {
      request.signal?.throwIfAborted();
      const look = await lookSafely(connection, place);
      taking = await this.takingFor(request, look);
      return await new TableRun({ store, place, look, connection, checker, clock, pause, taking, request }).run();
    } catch (thrown) {
      await taking?.drop();
      request.signal?.throwIfAborted();
      throw thrown;
    } finally {
      request.signal?.removeEventListener('abort', stop);
      await connection.end();
    }
  }
}

/** Whether a row has the same key for as long as it is there: a key with its time in it has another one after each change. */
export function hasLastingKeys({ columns }: TablePlace, { key }: Pick<TableLook, 'key'>): boolean {
  return !key.some(({ name }) => name === columns.updatedAt);
}

/** Whose inventory it is. With another key, rows are called otherwise: what was there before cannot be compared, and has not vanished. */
function inventoryName(store: string, { key }: TableLook): string {
  return `${store} (${key.map(({ name, type }) => `${quoted(name)} ${type}`).join(', ')})`;
}

/**
 * The table, once it is certain that nobody can write through this connection.
 * @throws AppError as {@link TableScanner.scan}
 */
export async function lookSafely(connection: TableConnection, place: TablePlace): Promise<TableLook> {
  const look = await lookAtTable(connection, place);
  await requireReadOnly(connection, place, look.oid);
  const { record, updatedAt = '' } = place.columns;
  const typeOf = (column: string) => look.columns.get(column)?.type ?? '';
  if (!isRecordColumn(place, look)) {
    throw new AppError(
      'store.not_a_store',
      `the column ${record} of ${place.table} is ${typeOf(record)}; records are json, jsonb, text or bytea`,
    );
  }
  if (updatedKindOf(place, look) === null) {
    const accepted = 'a timestamp, or a bigint of Unix milliseconds';
    throw new AppError(
      'store.not_a_store',
      `the column ${updatedAt} of ${place.table} is ${typeOf(updatedAt)}; updatedAt can only be ${accepted}`,
    );
  }
  return look;
}
