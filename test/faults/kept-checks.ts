import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as immediate } from 'node:timers/promises';
import { AcceptanceFolder } from '../../agent/integrity/acceptances.ts';
import { reportArchive } from '../../agent/integrity/archive.ts';
import { presentFile } from '../../agent/sigils/inventory/byte-file.ts';
import { inventoryPath, readInventory } from '../../agent/sigils/inventory/inventory-file.ts';
import { SnapshotKeeper } from '../../agent/sigils/kept/keeper.ts';
import { keptFiles, keptPath } from '../../agent/sigils/kept/kept-files.ts';
import { Shelf } from '../../agent/sigils/kept/shelf.ts';
import { Pacer } from '../../agent/sigils/pacer.ts';
import { copyAside } from '../../agent/sigils/put-back.ts';
import type { ScanResult } from '../../agent/sigils/scan.ts';
import { SigilScanner } from '../../agent/sigils/scanner.ts';
import type { StoreFiles } from '../../agent/sigils/store-files.ts';
import { rfc3339 } from '../../common/clock.ts';
import { reportAt } from '../agent/integrity/reports.ts';
import { intoTables, nthRecord, secret, withStore } from '../agent/sigils/stores.ts';
import { quietLogger } from '../quiet-logger.ts';
import { agentIn, type Keeper, only } from './keeper.ts';

const store = 'main';
const dayMs = 86_400_000;
const recordsPerNumber = 5;
const retention = { keepDays: 400, keepReports: 3 };
const aside = { log: '000003.log', text: 'what opening the store replaces' };

const storeIn = (root: string) => join(root, 'stores', store);
const shelfIn = (root: string) => new Shelf(agentIn(root), store);
const clockAt = (number: number) => ({ now: () => number * dayMs, monotonicMs: () => performance.now() });
const numberAt = (at: string) => Date.parse(at) / dayMs;

/** What checks of sigil stores leave: reports, the inventory, snapshots, and what people have said of findings. */
export const checkKeepers: readonly Keeper[] = [
  {
    name: 'report of a night',
    keep: async (root, number) => {
      const archive = reportArchive(agentIn(root), retention);
      const report = reportAt(number * dayMs);
      return { number, detail: await archive.add(report) };
    },
    find: async (root) => {
      const archive = reportArchive(agentIn(root), retention);
      const [newest] = await Promise.all(
        (await archive.ids()).map(async (id) => {
          const archived = await archive.read(id);
          if (archived === undefined) throw new Error(`report ${id} is none any more`);
          return archived;
        }),
      );
      if (newest === undefined) return undefined;
      const detail = createHash('sha256').update(newest.text).digest('hex');
      return { number: numberAt(newest.report.startedAt), detail };
    },
  },
  {
    // The one before is taken up meanwhile: it must not come back, and accept what nobody has looked at.
    name: 'acceptance of a finding',
    keep: async (root, number) => {
      const folder = new AcceptanceFolder(agentIn(root));
      const before = await folder.waiting(store);
      await folder.leave({ store, key: 'lyra!sigil!A!1', at: rfc3339(0), reason: String(number) });
      for (const acceptance of before) await folder.remove(acceptance);
      return only(number);
    },
    find: async (root) => {
      const folder = new AcceptanceFolder(agentIn(root));
      const waiting = await folder.waiting(store);
      if (waiting.length !== (await folder.count())) throw new Error('an acceptance cannot be read');
      return waiting.length === 0 ? undefined : only(Math.min(...waiting.map(({ reason }) => Number(reason))));
    },
  },
  {
    name: 'inventory of a store',
    keep: async (root, number) => {
      await writeStore(root, number);
      const inventory = { path: inventoryPath(agentIn(root), store), keeps: true };
      const result = await scanner(storeIn(root), number).scan({ ...fully, inventory });
      await result.inventory?.keep();
      return only(result.inventory?.keys ?? 0);
    },
    find: async (root) => {
      const file = await presentFile(inventoryPath(agentIn(root), store));
      if (file === null) return undefined;
      try {
        const entries = await readInventory(file, store, new Pacer(clockAt(0), () => immediate(), undefined));
        let keys = 0;
        while (await entries.next()) keys += 1;
        return only(keys);
      } finally {
        await file.close();
      }
    },
  },
  snapshotKeeper('links'),
  snapshotKeeper('copies'),
  {
    name: 'copy of what opening a store replaces',
    keep: async (root, number) => {
      const from = join(root, 'stores', 'to be mended');
      mkdirSync(from, { recursive: true });
      writeFileSync(join(from, aside.log), aside.text);
      await copyAside(from, shelfIn(root).folder, String(number).padStart(6, '0'));
      return only(number);
    },
    find: async (root) => {
      const { folder } = shelfIn(root);
      if (!existsSync(folder)) return undefined;
      const copies = (await readdir(folder)).filter((name) => name.startsWith('before-')).sort();
      let found: number | undefined;
      for (const name of copies) {
        const text = await readFile(keptPath(join(folder, name), aside.log), 'utf8').catch(() => '');
        // Nothing was replaced yet where a copy is not whole.
        if (text === aside.text) found = Number(name.slice('before-'.length));
      }
      return found === undefined ? undefined : only(found);
    },
  },
];

const fully = { mode: 'full', state: null, openFindings: [] } as const;

function scanner(path: string, number: number, files?: StoreFiles): SigilScanner {
  return new SigilScanner({ name: store, path, secrets: [secret], clock: clockAt(number), ...(files && { files }) });
}

/** As its writer would: each number brings records, in tables of their own. What a power cut has spoiled is made anew. */
async function writeStore(root: string, number: number): Promise<void> {
  const path = storeIn(root);
  const fill = () =>
    withStore(path, async (db) => {
      const records = Array.from({ length: number * recordsPerNumber }, (_, at) => nthRecord(at));
      await db.batch(
        records.map((record) => ({ type: 'put' as const, ...record })),
        { sync: true },
      );
      await intoTables(db);
    });
  mkdirSync(join(root, 'stores'), { recursive: true });
  const isClean = async () => (await scanned(path, number)).findings.length === 0;
  if (existsSync(path) && !(await isClean().catch(() => false))) rmSync(path, { recursive: true });
  await fill().catch(async () => {
    rmSync(path, { recursive: true });
    await fill();
  });
}

/** All of it. @throws where some of it is missing */
async function scanned(path: string, number: number, files?: StoreFiles): Promise<ScanResult> {
  const result = await scanner(path, number, files).scan(fully);
  if (!result.settled) throw new Error(`files of ${path} are missing`);
  return result;
}

/** Each snapshot that counts has to be whole: it is what a record is brought back from. */
function snapshotKeeper(by: 'links' | 'copies'): Keeper {
  const shelvesIn = (root: string) => join(agentIn(root), by);
  return {
    name: `snapshot of a clean store, by ${by}`,
    keep: async (root, number) => {
      await writeStore(root, number);
      const result = await scanned(storeIn(root), number);
      const settings = { by, keepDays: 400, keep: 2, maxBytes: 1024 ** 3 };
      const options = { store, path: storeIn(root), dataDir: shelvesIn(root), secrets: [secret], settings };
      const keeper = new SnapshotKeeper({ ...options, clock: clockAt(number), logger: quietLogger });
      const { signal } = new AbortController();
      await keeper.afterFullScan({ status: 'ok', state: result.state, pause: () => immediate(), signal });
      return only(number);
    },
    find: async (root) => {
      const snapshots = await new Shelf(shelvesIn(root), store).list();
      for (const { folder, at } of snapshots) {
        const { findings, sigils } = await scanned(folder, 0, keptFiles(folder));
        const [found] = findings;
        if (found !== undefined) throw new Error(`snapshot of ${at}: ${found.detail} (${found.check})`);
        if (sigils < numberAt(at) * recordsPerNumber) throw new Error(`snapshot of ${at}: it has ${sigils} records`);
      }
      const [newest] = snapshots;
      return newest && only(numberAt(newest.at));
    },
  };
}
