import type { Clock } from '../common/clock.ts';
import type { ScanRequest, ScanResult, StoreScanner } from './sigils/scan.ts';
import { SigilScanner } from './sigils/scanner.ts';
import type { StorePlace } from './tables/table-settings.ts';

export interface StoreScannerOptions {
  readonly name: string;
  readonly place: StorePlace;
  /** Event secrets in force, none to two. */
  readonly secrets: readonly string[];
  readonly clock: Clock;
  /** How many threads check the tables of a LevelDB store in a full scan; 1 when absent. */
  readonly threads?: number | undefined;
  readonly pause?: () => Promise<void>;
}

/** What checks a store, wherever it is. The client of PostgreSQL is loaded with the first scan of a table. */
export function storeScanner({ name, place, threads = 1, ...options }: StoreScannerOptions): StoreScanner {
  if (typeof place === 'string') return new SigilScanner({ ...options, name, path: place, threads });
  let scanner: Promise<StoreScanner> | undefined;
  const load = async (): Promise<StoreScanner> => {
    const { TableScanner } = await import('./tables/table-scanner.ts');
    return new TableScanner({ ...options, name, place: place.postgres });
  };
  return {
    name,
    scan: async (request: ScanRequest): Promise<ScanResult> => {
      scanner ??= load();
      return (await scanner).scan(request);
    },
  };
}
