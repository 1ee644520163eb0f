import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { crc32c } from '@node-rs/crc32';
import fc from 'fast-check';
import { compressSync } from 'snappy';
import { ByteReader, maskedCrc } from '../../../agent/sigils/bytes.ts';
import { type LogProblem, LogReader, logBlockBytes } from '../../../agent/sigils/log-format.ts';
import { SnappyDecoder } from '../../../agent/sigils/snappy.ts';
import { BlockCursor, parseFooter, parseHandle } from '../../../agent/sigils/table-format.ts';
import { VersionBuilder } from '../../../agent/sigils/version-edit.ts';
import { BatchCursor } from '../../../agent/sigils/write-batch.ts';
import { limits } from '../../../common/limits.ts';

const anyBytes = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes));

describe('CRC-32C', () => {
  it('has the published check value, and LevelDB masks it', () => {
    assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
    assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa); // RFC 3720 B.4
    assert.notEqual(maskedCrc(Buffer.from('foo')), crc32c(Buffer.from('foo')));
  });
});

describe('snappy', () => {
  const texts = fc
    .array(fc.constantFrom('abc', '{"id":"x"}', 'aaaaaaaa', '\u00e9', 'lyra!sigil!'))
    .map((parts) => Buffer.from(parts.join('')));
  const large = fc.nat(200_000).map((size) => Buffer.alloc(size, 'pattern of some length '));

  it('decodes what the reference library encodes', () => {
    const decoder = new SnappyDecoder(1_000_000);
    fc.assert(
      fc.property(fc.oneof(anyBytes, texts, large), (plain) => {
        assert.deepEqual(decoder.decode(compressSync(plain)), plain);
      }),
    );
  });

  it('refuses malformed input and sizes beyond the bound, and never throws', () => {
    const decoder = new SnappyDecoder(1_000);
    assert.equal(decoder.decode(compressSync(Buffer.alloc(1_001, 'x'))), null);
    assert.equal(decoder.decode(Buffer.from('ffffffff0f00', 'hex')), null);
    fc.assert(
      fc.property(anyBytes, fc.nat(), fc.nat(255), (plain, at, byte) => {
        decoder.decode(plain);
        const damaged = compressSync(plain);
        damaged.writeUInt8(byte, at % damaged.length);
        assert.ok((decoder.decode(damaged)?.length ?? 0) <= 1_000);
      }),
    );
  });
});

describe('the log format', () => {
  const records = fc.array(
    fc.nat(100_000).map((size) => Buffer.alloc(size, `record of ${size} `)),
    { maxLength: 8 },
  );

  it('gives back the records that were written, and says where to resume', () => {
    fc.assert(
      fc.property(records, (written) => {
        const { items, resumeAt } = readAll(logOf(written));
        assert.deepEqual(items, written);
        assert.equal(resumeAt, logOf(written).length);
      }),
      { numRuns: 50 },
    );
  });

  it('takes any cut end for a record still being written', () => {
    const written = [Buffer.alloc(40_000, 'a'), Buffer.alloc(50, 'b'), Buffer.alloc(70_000, 'c')];
    fc.assert(
      fc.property(fc.nat(logOf(written).length), (end) => {
        const { items, resumeAt } = readAll(logOf(written).subarray(0, end));
        assert.ok(items.every((item) => Buffer.isBuffer(item)));
        assert.ok(resumeAt <= end);
      }),
    );
  });

  it('reports zeros in the middle, not at the end', () => {
    const whole = logOf([Buffer.alloc(100, 'a'), Buffer.alloc(100_000, 'b'), Buffer.alloc(100, 'c')]);
    assert.deepEqual(readAll(Buffer.concat([whole, Buffer.alloc(50_000)])).items.length, 3);
    const holed = Buffer.from(whole);
    holed.fill(0, logBlockBytes, 2 * logBlockBytes);
    assert.deepEqual(problemsIn(holed), [`log_format@${logBlockBytes}`]);
  });

  it('reports fragments without a beginning or an end', () => {
    const middle = fragment(3, Buffer.from('m'));
    const first = fragment(2, Buffer.from('f'));
    const full = fragment(1, Buffer.from('x'));
    assert.deepEqual(problemsIn(Buffer.concat([middle, full])), ['log_format@0']);
    assert.deepEqual(problemsIn(Buffer.concat([first, full])), ['log_format@8']);
    assert.deepEqual(problemsIn(fragment(9, Buffer.from('?'))), ['log_format@0']);
    assert.deepEqual(problemsIn(fragment(0, Buffer.from('?'))), ['log_format@0']);
  });
});

describe('hostile bytes', () => {
  it('are read without an exception and without leaving their bounds', () => {
    const cursor = new BlockCursor();
    const batch = new BatchCursor();
    fc.assert(
      fc.property(anyBytes, fc.nat(1_000), (bytes, fileSize) => {
        parseFooter(bytes, fileSize);
        const handle = parseHandle(bytes, fileSize);
        if (handle !== null) assert.ok(handle.offset + handle.size < fileSize);
        new VersionBuilder().apply(bytes);
        readAll(bytes);
        cursor.open(bytes);
        while (cursor.next()) assert.ok(cursor.valueEnd <= bytes.length && cursor.keyLength <= cursor.key.length);
        batch.open(bytes);
        while (batch.next()) assert.ok(batch.key.length <= bytes.length);
      }),
      { numRuns: 2_000 },
    );
  });

  it('name no more tables than are taken into memory', () => {
    const version = new VersionBuilder();
    const key = Buffer.from('0861616161616161' + '61', 'hex');
    const newTable = (number: number): Buffer =>
      Buffer.concat([
        Buffer.of(7, 0, 0x80 | (number & 0x7f), 0x80 | ((number >> 7) & 0x7f), number >> 14, 1),
        key,
        key,
      ]);
    const tables = Array.from({ length: limits.sigilMaxTables }, (_, number) => newTable(number));
    assert.equal(version.apply(Buffer.concat(tables)), true);
    assert.equal(version.apply(newTable(limits.sigilMaxTables)), false);
    assert.equal(version.tables.size, limits.sigilMaxTables);
  });

  it('fail to be numbers past 2^53', () => {
    const reader = new ByteReader(Buffer.from('ffffffffffffffffff01', 'hex'));
    assert.deepEqual([reader.varint(), reader.failed], [0, true]);
    assert.equal(new ByteReader(Buffer.from('ffffffffffffff0f', 'hex')).varint(), Number.MAX_SAFE_INTEGER);
    assert.equal(new ByteReader(Buffer.from('9601', 'hex')).varint(), 150);
  });
});

function readAll(bytes: Buffer): { items: (Buffer | LogProblem)[]; resumeAt: number } {
  const reader = new LogReader(0, 1_000_000);
  const items: (Buffer | LogProblem)[] = [];
  for (let at = 0; at < bytes.length; at += logBlockBytes) {
    items.push(...reader.read(bytes.subarray(at, at + logBlockBytes), at));
  }
  return { items, resumeAt: reader.resumeAt };
}

function problemsIn(bytes: Buffer): string[] {
  return readAll(bytes).items.flatMap((item) => (Buffer.isBuffer(item) ? [] : [`${item.check}@${item.offset}`]));
}

/** Writes a log as LevelDB does. */
function logOf(records: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  const push = (part: Buffer) => {
    parts.push(part);
    at += part.length;
  };
  for (const record of records) {
    let done = 0;
    let type = 0;
    while (type !== 1 && type !== 4) {
      const left = logBlockBytes - (at % logBlockBytes);
      if (left < 7) push(Buffer.alloc(left));
      const room = logBlockBytes - (at % logBlockBytes) - 7;
      const data = record.subarray(done, done + room);
      const first = type === 0;
      done += data.length;
      type = done === record.length ? (first ? 1 : 4) : first ? 2 : 3;
      push(fragment(type, data));
    }
  }
  return Buffer.concat(parts);
}

function fragment(type: number, data: Buffer): Buffer {
  const header = Buffer.alloc(7);
  header.writeUInt32LE(maskedCrc(Buffer.concat([Buffer.from([type]), data])));
  header.writeUInt16LE(data.length, 4);
  header.writeUInt8(type, 6);
  return Buffer.concat([header, data]);
}
