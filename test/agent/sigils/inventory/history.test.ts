import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { randomOf, seedOf } from '../../../e2e/random.ts';
import { runSigilWriter } from '../../../fakes/sigil-writer.ts';
import { intoTables, secret, temporaryFolder, withStore } from '../stores.ts';
import { Nights, sigilAt } from './inventories.ts';

const seed = seedOf('histories of stores');
const histories = process.env.SIGILWATCH_TEST_LONG === '1' ? 60 : 8;
const forms = ['new', 'new', 'plain', 'namespaced'] as const;

interface Known {
  readonly id: string;
  readonly isNew: boolean;
  high: number;
}

/** What the inventory promises, over maps: what stands in the store now, and what ever stood there at a full scan. */
class Model {
  readonly now = new Map<string, { readonly id: string; readonly isNew: boolean; readonly minute: number }>();
  private readonly known = new Map<string, Known>();

  fullScan(): string[] {
    for (const [key, { id, isNew, minute }] of this.now) {
      const before = this.known.get(key);
      this.known.set(key, { id, isNew, high: Math.max(before?.high ?? 0, minute) });
    }
    const migrated = new Set([...this.now.values()].filter(({ isNew }) => isNew).map(({ id }) => id));
    return [...this.known]
      .flatMap(([key, { id, isNew, high }]) => {
        const now = this.now.get(key);
        const hasNewForm = !isNew && migrated.has(id);
        if (now === undefined) return hasNewForm ? [] : [`vanished ${key}`];
        const old = now.minute < high ? [`rolled_back ${key}`] : [];
        return hasNewForm ? [...old, `duplicate ${key}`] : old;
      })
      .sort();
  }
}

describe('a store that is written to', () => {
  it('has lost nothing, although its files are rewritten while the inventory is taken', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'store');
    const nights = new Nights(path, folder);
    const stopping = new AbortController();
    let begun = () => {};
    const ready = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const writing = runSigilWriter({
      ...{ dir: path, tenant: 'lyra', secret, rate: 2_000, count: 0, overwrite: 0.5, compression: true },
      ...{ writeBufferBytes: 64 * 1024, signal: stopping.signal, onReady: () => begun() },
    });
    await ready;
    let before = 0;
    for (let night = 0; night < 12; night++) {
      const { findings, inventory } = await nights.scan();
      assert.deepEqual(findings, []);
      assert.ok(inventory !== null && inventory.keys >= before);
      before = inventory.keys;
    }
    stopping.abort();
    const { keys } = await writing;
    const last = await nights.scan();
    assert.deepEqual([last.findings, last.inventory?.keys], [[], keys]);
  });
});

describe('any history of puts, deletions, overwritings and compactions', () => {
  for (let nth = 0; nth < histories; nth++) {
    it(`leads at each full scan to what a map of keys says (${nth})`, async (t) => {
      const { int, pick, chance } = randomOf(seed, `history ${nth}`);
      const folder = temporaryFolder(t);
      const path = join(folder, 'store');
      const nights = new Nights(path, folder);
      const model = new Model();
      for (let night = 0; night < 5; night++) {
        await withStore(
          path,
          async (db) => {
            for (let step = int(0, 60); step > 0; step--) {
              const form = pick(forms);
              const id = `id-${int(0, 12)}`;
              const minute = int(1, 20);
              const { key, value } = sigilAt({ form, id }, minute);
              if (chance(0.3)) {
                await db.del(key);
                model.now.delete(key);
              } else {
                await db.put(key, value);
                model.now.set(key, { id, isNew: form === 'new', minute });
              }
              if (chance(0.05)) await intoTables(db);
            }
          },
          { writeBufferSize: 64 * 1024 },
        );
        // A crash before all was told: the next scan finds the same.
        if (chance(0.3)) await nights.scan({ told: false });
        await nights.scan();
        assert.deepEqual(nights.standing, model.fullScan(), `night ${night}, seed ${seed}`);
        assert.deepEqual(readdirSync(dirname(nights.inventory)), ['main.inventory']);
        const again = await nights.scan({ keeps: false });
        assert.deepEqual([again.findings, again.cleared], [[], []]);
      }
    });
  }
});
