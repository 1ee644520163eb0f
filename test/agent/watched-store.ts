import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { AcceptanceFolder } from '../../agent/integrity/acceptances.ts';
import { inventoryPath } from '../../agent/sigils/inventory/inventory-file.ts';
import { StoreWatch } from '../../agent/stores.ts';
import { Account } from '../../agent/told/account.ts';
import type { Logger } from '../../common/log.ts';
import { fakeJournal } from '../fakes/journal.ts';
import { quietLogger } from '../quiet-logger.ts';
import { until } from '../until.ts';
import { clock, secret } from './sigils/stores.ts';
import { tempFolder } from './watching.ts';

const temp = tempFolder();

/** A real store, to be made by the test at `path`, and watches over it, one after the other, with an inventory. */
export class WatchedStore {
  readonly journal = fakeJournal();
  readonly dataDir = mkdtempSync(join(temp, 'data-'));
  readonly path = join(this.dataDir, 'db');
  readonly inventoryPath = inventoryPath(this.dataDir, 'main');
  /** Events that were logged. */
  readonly logged: string[] = [];
  readonly #stops: (() => Promise<void>)[] = [];

  /** Begins one, with nothing known but what the journal and the data directory hold. */
  watch() {
    const { journal, dataDir, path: place, inventoryPath } = this;
    const log = (event: string) => void this.logged.push(event);
    const logger: Logger = { ...quietLogger, info: log, warn: log, error: log };
    const store = new StoreWatch({
      ...{ name: 'main', place, secrets: [secret], fullScanCpuShare: 1, clock, logger, inventoryPath },
      journal: new Account(journal),
      acceptances: new AcceptanceFolder(dataDir),
    });
    const abort = new AbortController();
    const ended = store.run(abort.signal);
    const stop = async () => {
      abort.abort();
      await ended;
    };
    this.#stops.push(stop);
    return { store, stop };
  }

  has(event: string): boolean {
    return this.logged.includes(event);
  }

  /** How many inventories were taken. */
  get taken(): number {
    return this.logged.filter((event) => event === 'inventory.taken').length;
  }

  async tookInventories(count: number): Promise<void> {
    await until(`${count} inventories were taken`, () => this.taken === count);
  }

  /** Ends all watches. */
  async end(): Promise<void> {
    await Promise.all(this.#stops.map((stop) => stop()));
  }
}
