import { limits } from '../../common/limits.ts';
import type { FileProblem } from '../sigils/findings.ts';
import type { TableLook, TablePart } from './catalog-store.ts';
import { isCorruption, serverMessage, sqlStateOf, type TableConnection } from './connection.ts';

/** What of `amcheck` this role may run, by the names to call it under; null where it may not, or there is none. */
export interface Amcheck {
  readonly index: string | null;
  readonly heap: string | null;
}

/** How details of what it finds begin: those are cleared only by what found them. */
export const amcheckMark = 'amcheck: ';

export async function findAmcheck(connection: TableConnection): Promise<Amcheck> {
  const [found] = await connection.query<{ index: string | null; heap: string | null }>(
    `select max(format('%I.bt_index_check', n.nspname)) filter (where p.proname = 'bt_index_check') as index,
       max(format('%I.verify_heapam', n.nspname)) filter (where p.proname = 'verify_heapam') as heap
     from pg_extension e join pg_depend d on d.refobjid = e.oid and d.refclassid = 'pg_extension'::regclass
       and d.classid = 'pg_proc'::regclass and d.deptype = 'e'
     join pg_proc p on p.oid = d.objid join pg_namespace n on n.oid = p.pronamespace
     where e.extname = 'amcheck' and has_function_privilege(p.oid, 'EXECUTE') and has_schema_privilege(n.oid, 'USAGE')
       and (p.proname = 'verify_heapam' or oidvectortypes(p.proargtypes) = 'regclass, boolean')`,
  );
  return found ?? { index: null, heap: null };
}

/**
 * Has PostgreSQL check the table's files and the B-trees over it. Takes no lock that keeps readers or writers waiting. What takes too
 * long, or is locked by others, is left to the next time: null stands for it.
 * @throws AppError `store.unreadable` when the connection is lost
 */
export async function* amcheck(
  connection: TableConnection,
  { parts, blockBytes }: TableLook,
  { index, heap }: Amcheck,
): AsyncGenerator<FileProblem | null> {
  for (const part of parts) {
    if (heap !== null) yield* checkHeap(connection, part, { heap, blockBytes });
    if (index !== null) yield* checkIndexes(connection, part, index);
  }
}

async function* checkHeap(
  connection: TableConnection,
  { oid, sqlName, bytes }: TablePart,
  { heap, blockBytes }: { readonly heap: string; readonly blockBytes: number },
): AsyncGenerator<FileProblem | null> {
  const blocks = Math.ceil(bytes / blockBytes);
  for (let from = 0; from < blocks; from += limits.amcheckBlocks) {
    const to = Math.min(from + limits.amcheckBlocks, blocks) - 1;
    const complaints = await complaintsOf(() =>
      connection.query<{ block: number; message: string }>(
        `select blkno::float8 as block, msg as message from ${heap}($1::oid::regclass, check_toast => true,
           startblock => $2::bigint, endblock => $3::bigint) limit ${limits.amcheckComplaints}`,
        [oid, from, to],
      ),
    );
    if (complaints === null) yield null;
    else if (typeof complaints === 'string') {
      yield { check: 'heap_corrupt', file: sqlName, offset: null, range: null, detail: amcheckMark + complaints };
    } else {
      for (const { block, message } of complaints) {
        const detail = amcheckMark + message;
        yield { check: 'heap_corrupt', file: sqlName, offset: block * blockBytes, range: null, detail };
      }
    }
  }
}

async function* checkIndexes(
  connection: TableConnection,
  { oid, bytes }: TablePart,
  check: string,
): AsyncGenerator<FileProblem | null> {
  const indexes = await connection.query<{ oid: string; name: string }>(
    `select x.oid::text as oid, format('%I.%I', n.nspname, x.relname) as name
     from pg_index i join pg_class x on x.oid = i.indexrelid join pg_am m on m.oid = x.relam
       join pg_namespace n on n.oid = x.relnamespace
     where i.indrelid = $1::oid and i.indisvalid and i.indisready and m.amname = 'btree' order by x.oid`,
    [oid],
  );
  for (const { oid: index, name } of indexes) {
    const everyRow = bytes <= limits.amcheckRowsInIndexMaxBytes;
    const complaint = await complaintsOf(() =>
      connection.query(`select ${check}($1::oid::regclass, $2)`, [index, everyRow]),
    );
    if (complaint === null) yield null;
    else if (typeof complaint === 'string') {
      yield { check: 'index_corrupt', file: name, offset: null, range: null, detail: amcheckMark + complaint };
    }
  }
}

/** What is not there, not allowed, locked, too slow, or of a kind that cannot be checked: of it, nothing is known. */
const passedOver = /^(42501|42883|42P01|55P03|57014|0A000|55000|42809)$/;

/** The rows, or what the server says is damaged; null when it could not tell. */
async function complaintsOf<Row>(ask: () => Promise<readonly Row[]>): Promise<readonly Row[] | string | null> {
  try {
    return await ask();
  } catch (thrown) {
    if (isCorruption(thrown)) return serverMessage(thrown);
    if (passedOver.test(sqlStateOf(thrown) ?? '')) return null;
    throw thrown;
  }
}
