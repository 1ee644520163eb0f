import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import { getHeapSpaceStatistics } from 'node:v8';
import { namelessFile } from '../../../../agent/sigils/inventory/byte-file.ts';
import type { ComparisonSink } from '../../../../agent/sigils/inventory/comparison.ts';
import { isPresent, isSound } from '../../../../agent/sigils/inventory/entry.ts';
import { EntrySorter } from '../../../../agent/sigils/inventory/sorter.ts';
import { InventoryTaking } from '../../../../agent/sigils/inventory/taking.ts';
import { Pacer } from '../../../../agent/sigils/pacer.ts';
import { limits } from '../../../../common/limits.ts';
import { randomOf, seedOf } from '../../../e2e/random.ts';
import { clock, temporaryFolder } from '../stores.ts';

const seed = seedOf('sorting of entries');
const pacer = new Pacer(clock, () => immediate(), undefined);

function parts(key: string, sequence: number, texts: { id: string; time: string }) {
  const bytes = Buffer.from(key);
  const from = Buffer.from(texts.id + texts.time);
  const spans = { idStart: 0, idEnd: texts.id.length, timeStart: texts.id.length, timeEnd: from.length };
  return { key: bytes, keyLength: bytes.length, sequence, flags: isPresent | isSound, from, ...spans };
}

/** What the process holds in memory, but for the young part of its heap: that grows with the garbage, up to a size of Node's choice. */
function residentBytes(): number {
  const young = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space');
  return process.memoryUsage().rss - (young?.physical_space_size ?? 0);
}

describe('a sorter', () => {
  it('gives back all it was given, by key and the newest first, however often it had to merge runs into one', async (t) => {
    const { int } = randomOf(seed, 'many runs');
    const folder = temporaryFolder(t);
    const file = await namelessFile(folder);
    t.after(() => file.close());
    assert.deepEqual(readdirSync(folder), [], 'its file has no name');
    // Full after one entry: so many runs that some entries are merged twice.
    const sorter = new EntrySorter(file, pacer, 32 * 2_126);
    const given: [string, number][] = [];
    const count = limits.inventoryFanIn ** 2 + 500;
    for (let sequence = 0; sequence < count; sequence++) {
      const key = `key-${int(0, 3_000)}`;
      given.push([key, sequence]);
      if (sorter.isFull) await sorter.relieve();
      sorter.add(parts(key, sequence, { id: 'i'.repeat(int(0, 200)), time: String(sequence) }));
    }
    const merged = await sorter.merged();
    const taken: [string, number][] = [];
    for (; merged.entry !== null; await merged.next()) {
      assert.equal(merged.entry.time, String(merged.entry.sequence));
      taken.push([merged.entry.key.toString(), merged.entry.sequence]);
    }
    given.sort(([a, one], [b, other]) => (a < b ? -1 : a > b ? 1 : other - one));
    assert.deepEqual(taken, given);
  });

  it('takes the same memory for many sigils as for few', async (t) => {
    const folder = temporaryFolder(t);
    const sink: ComparisonSink = { isSeen: () => true, suspect: async () => {}, moved: () => {} };
    let peak = 0;
    const look = () => {
      peak = Math.max(peak, residentBytes());
      return immediate();
    };
    const twoNights = async (sigils: number) => {
      for (let night = 0; night < 2; night++) {
        const taking = await InventoryTaking.begin({
          ...{ path: join(folder, 'inventory', `of-${sigils}`), keeps: true, store: 'large' },
          pacer: new Pacer(clock, look, undefined),
        });
        for (let nth = 0; nth < sigils; nth++) {
          // Any order but the sorted one: as good as none of it is in one run already.
          const at = (nth * 7_919) % sigils;
          if (taking.isFull) await taking.relieve();
          const key = `lyra!sigil!S${at % 7}!${String(at).padStart(64, '0')}`;
          taking.add(parts(key, nth, { id: `S-${at}`, time: '2026-01-01T00:00:00.000Z' }));
        }
        assert.ok(await taking.compare(sink));
        assert.equal(taking.result.keys, sigils);
        await taking.result.keep();
      }
    };
    // The few are enough to fill the arena.
    await twoNights(100_000);
    const forFew = peak;
    await twoNights(500_000);
    const more = (peak - forFew) / 2 ** 20;
    // An entry has about 130 bytes: the 400,000 more would be 50 MiB. Garbage that has aged makes up to 23.
    assert.ok(more < 36, `${more.toFixed(1)} MiB more for five times as many`);
    console.log(`${more.toFixed(1)} MiB more for five times as many sigils`);
  });
});
