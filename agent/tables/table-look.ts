import { findAmcheck } from './amcheck-store.ts';
import { connectTable } from './connection.ts';
import { hasLastingKeys, lookSafely } from './table-scanner.ts';
import type { TablePlace } from './table-settings.ts';

/**
 * What there is to be said about a table before it is scanned.
 * @throws AppError as a scan of it would
 */
export async function describeTable(place: TablePlace): Promise<string> {
  const connection = await connectTable(place);
  try {
    const look = await lookSafely(connection, place);
    const { key, columns, estimatedRows } = look;
    const { index, heap } = await findAmcheck(connection);
    const run = [index === null ? [] : 'bt_index_check', heap === null ? [] : 'verify_heapam'].flat();
    return [
      `${place.table} at ${connection.database}`,
      `${estimatedRows === null ? 'an unknown number of' : `about ${estimatedRows}`} rows by ${key.map(({ name }) => name).join(', ')}`,
      run.length === 0 ? 'amcheck cannot be run' : `amcheck: ${run.join(', ')}`,
      ...(place.columns.updatedAt === undefined ? ['without updatedAt, so only full scans read it'] : []),
      ...(hasLastingKeys(place, look) ? [] : ['without an inventory, since updatedAt is part of its key']),
      ...(columns.get(place.columns.record)?.type === 'jsonb' ? ['jsonb has its own order of members'] : []),
    ].join('; ');
  } finally {
    await connection.end();
  }
}
