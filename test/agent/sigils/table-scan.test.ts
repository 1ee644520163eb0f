import assert from 'node:assert/strict';
import { it } from 'node:test';
import { maskedCrc } from '../../../agent/sigils/bytes.ts';
import { FileWindow } from '../../../agent/sigils/file-window.ts';
import { Pacer } from '../../../agent/sigils/pacer.ts';
import type { StoreFile } from '../../../agent/sigils/store-files.ts';
import { footerBytes } from '../../../agent/sigils/table-format.ts';
import { type TableProblem, TableReader } from '../../../agent/sigils/table-reader.ts';
import { TableScan } from '../../../agent/sigils/table-scan.ts';
import { clock } from './stores.ts';

/** Of one record, as the field encodes it: lengths below 128 are one byte. */
function entry(userKey: string, value: Buffer): Buffer {
  const key = Buffer.concat([Buffer.from(userKey), Buffer.from([1, 1, 0, 0, 0, 0, 0, 0])]);
  return Buffer.concat([Buffer.from([0, key.length, value.length]), key, value]);
}

/** With one restart point, uncompressed, and the trailer. */
function block(entries: readonly Buffer[]): Buffer {
  const restarts = Buffer.from([0, 0, 0, 0, 1, 0, 0, 0]);
  const typed = Buffer.concat([...entries, restarts, Buffer.from([0])]);
  const crc = Buffer.alloc(4);
  crc.writeUInt32LE(maskedCrc(typed));
  return Buffer.concat([typed, crc]);
}

function varint(value: number): Buffer {
  return value < 128 ? Buffer.from([value]) : Buffer.concat([Buffer.from([(value % 128) + 128]), varint(value >> 7)]);
}

const handle = (offset: number, size: number) => Buffer.concat([varint(offset), varint(size)]);

/** A table whose index names its only data block so often. */
function tableNaming(times: number): Buffer {
  const data = block([entry('lyra!health!probe', Buffer.from('{}'))]);
  const meta = block([]);
  const place = handle(0, data.length - 5);
  const index = block(Array.from({ length: times }, () => entry('lyra!z', place)));
  const at = data.length + meta.length;
  const ends = Buffer.concat([handle(data.length, meta.length - 5), handle(at, index.length - 5)]);
  const magic = Buffer.from('57fb808b247547db', 'hex');
  return Buffer.concat([data, meta, index, ends, Buffer.alloc(footerBytes - magic.length - ends.length), magic]);
}

async function scanned(bytes: Buffer): Promise<{ records: number; problems: readonly TableProblem[] }> {
  const file: StoreFile = {
    ...{ name: '000005.ldb', bytes: bytes.length, identity: 'one', fingerprint: 'one' },
    read: async (target, position) => bytes.copy(target, 0, position),
    close: async () => {},
  };
  let records = 0;
  const problems: TableProblem[] = [];
  const scan = new TableScan(new TableReader(new FileWindow()), new Pacer(clock, async () => {}, undefined), {
    record: () => void records++,
    deletion: () => {},
    isFull: false,
    relieve: async () => {},
    problem: (problem) => void problems.push(problem),
    blockDone: () => undefined,
  });
  await scan.scan(file, { number: 5, level: 0, bytes: bytes.length, bounds: null });
  return { records, problems };
}

it('a table is read once, however often its index names a block', async () => {
  assert.deepEqual(await scanned(tableNaming(1)), { records: 1, problems: [] });
  const { records, problems } = await scanned(tableNaming(50_000));
  // It ends once as much was read as the file holds.
  assert.ok(records < 50_000, `${records} records`);
  assert.deepEqual(
    problems.map(({ check, problem }) => [check, problem]),
    [['block_format', 'the index names more than the file holds']],
  );
});
