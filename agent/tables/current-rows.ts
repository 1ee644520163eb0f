import { limits } from '../../common/limits.ts';
import { compareTimes } from '../../common/sigil-inventory.ts';
import { rowFacts } from '../../common/sigil-row.ts';
import type { FoundRecord, RecordLookUp } from '../sigils/look-up.ts';
import type { Pacer } from '../sigils/pacer.ts';
import { isCorruption, sqlStateOf } from './connection.ts';
import type { CheckedRow, RowChecker } from './row-checker.ts';
import type { TableRows } from './rows-store.ts';

const absent: FoundRecord = { isPresent: false, updatedAt: '', failures: [], uncertain: false };
const unknown: FoundRecord = { ...absent, uncertain: true };

/** Rows by their keys, in the session of the scan, each statement with what was committed before it. */
export class CurrentRows implements RecordLookUp {
  private readonly rows: TableRows;
  private readonly checker: RowChecker;
  private readonly pacer: Pacer;

  constructor(rows: TableRows, checker: RowChecker, pacer: Pacer) {
    this.rows = rows;
    this.checker = checker;
    this.pacer = pacer;
  }

  /** {@link RecordLookUp}; what is no key of this table names none of its rows. */
  async lookUp(keys: readonly Buffer[]): Promise<ReadonlyMap<string, FoundRecord>> {
    const found = new Map<string, FoundRecord>();
    const asked: [name: string, columns: readonly string[]][] = [];
    for (const key of keys) {
      const columns = this.checker.columnsOf(key);
      found.set(key.toString('latin1'), absent);
      if (columns !== undefined) asked.push([key.toString('latin1'), columns]);
    }
    for (let at = 0; at < asked.length; at += limits.tableLookUpRows) {
      const some = new Map(asked.slice(at, at + limits.tableLookUpRows));
      for (const answer of await this.answers(some)) found.set(...answer);
    }
    return found;
  }

  private async answers(
    asked: ReadonlyMap<string, readonly string[]>,
  ): Promise<readonly (readonly [name: string, found: FoundRecord])[]> {
    try {
      return await this.read([...asked.values()]);
    } catch (thrown) {
      if (isCorruption(thrown)) return [...asked.keys()].map((name) => [name, unknown]);
      if (!sqlStateOf(thrown)?.startsWith('22')) throw thrown;
      // One is of another type than the column has by now: no row has that key, which says nothing of the others.
      if (asked.size <= 1) return [];
      const each = [];
      for (const one of asked) each.push(...(await this.answers(new Map([one]))));
      return each;
    }
  }

  private async read(keys: readonly (readonly string[])[]): Promise<[name: string, found: FoundRecord][]> {
    const found = new Map<string, FoundRecord>();
    for await (const row of this.rows.all({ kind: 'keys', keys }, () => this.pacer.rest())) {
      const checked = this.checker.check(row);
      const name = checked.key.toString('latin1');
      found.set(name, later(found.get(name), foundOf(checked)));
    }
    return [...found];
  }
}

function foundOf({ failures, sound }: CheckedRow): FoundRecord {
  const updatedAt = sound === null ? '' : rowFacts(sound).updatedAt;
  return { isPresent: true, updatedAt, failures, uncertain: false };
}

/** Only a broken index lets two rows have one key: what either fails counts, and the later time. */
function later(before: FoundRecord | undefined, now: FoundRecord): FoundRecord {
  if (before === undefined) return now;
  const isOlder = (compareTimes(now.updatedAt, before.updatedAt) ?? 0) < 0;
  return { ...(isOlder ? before : now), failures: [...before.failures, ...now.failures] };
}
