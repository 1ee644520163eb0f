import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as immediate } from 'node:timers/promises';
import { checkDone, checkStatus } from '../../../../agent/integrity/store-check.ts';
import { type KeeperSettings, SnapshotKeeper } from '../../../../agent/sigils/kept/keeper.ts';
import { Shelf } from '../../../../agent/sigils/kept/shelf.ts';
import type { ScanState } from '../../../../agent/sigils/scan-state.ts';
import { SigilScanner } from '../../../../agent/sigils/scanner.ts';
import type { Clock } from '../../../../common/clock.ts';
import type { LogFields, Logger } from '../../../../common/log.ts';
import { settableClock } from '../../watching.ts';
import { secret } from '../stores.ts';

export const dayMs = 86_400_000;
export const week: KeeperSettings = { by: 'links', keepDays: 7, keep: 7, maxBytes: 1024 ** 3 };

/** The agent's nights over one store, as far as snapshots go. */
export class Keeping {
  readonly shelf: Shelf;
  readonly clock: Clock & { stepMs: number; monotonicMs: () => number } = settableClock();
  readonly logged: string[] = [];
  state: ScanState | null = null;
  private readonly keeper: SnapshotKeeper;
  private readonly scanner: SigilScanner;

  constructor(path: string, dataDir: string, over: Partial<KeeperSettings> = {}) {
    const { clock } = this;
    const log = (event: string, fields: LogFields = {}) => {
      this.logged.push([event, fields.reason ?? fields.error].filter((part) => part !== undefined).join(': '));
    };
    const logger: Logger = { debug: log, info: log, warn: log, error: log };
    const settings = { ...week, ...over };
    this.shelf = new Shelf(dataDir, 'main');
    this.scanner = new SigilScanner({ name: 'main', path, secrets: [secret], clock });
    this.keeper = new SnapshotKeeper({ store: 'main', path, dataDir, secrets: [secret], settings, clock, logger });
  }

  /** A full scan, and what is kept after it. */
  async night(pause: () => Promise<void> = () => immediate()): Promise<void> {
    const result = await this.scanner.scan({ mode: 'full', state: null, openFindings: [] });
    const status = checkStatus(checkDone(result, result.findings));
    const { signal } = new AbortController();
    this.state = await this.keeper.afterFullScan({ status, state: result.state, pause, signal });
    this.clock.stepMs += dayMs;
  }

  /** How many tables the scan of the next minute looks at. */
  async tablesOfNextMinute(): Promise<number> {
    const result = await this.scanner.scan({ mode: 'incremental', state: this.state, openFindings: [] });
    return result.tables;
  }

  async ids(): Promise<string[]> {
    return (await this.shelf.list()).map(({ id }) => id);
  }
}

/** SHA-256 of every file below a folder, by name. */
export function digests(folder: string): Record<string, string> {
  const files = readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  return Object.fromEntries(paths.map((path) => [path, createHash('sha256').update(readFileSync(path)).digest('hex')]));
}
