import type { Clock } from '../common/clock.ts';
import { parseCron } from '../common/cron.ts';
import type { DesiredContainer } from '../common/desired.ts';
import { jitterOf } from '../common/due.ts';
import { wantedText } from '../common/enforcement/wanted.ts';
import type { Logger } from '../common/log.ts';
import { type AgentSettings, noSchedule } from './config.ts';
import { DesiredSource } from './desired/desired-source.ts';
import { gitRepository } from './desired/git.ts';
import type { Trust } from './desired/signature.ts';
import type { EngineControl } from './docker/control.ts';
import { dockerEngine } from './docker/dockerode.ts';
import { dockerControl, type SignedText } from './docker/dockerode-control.ts';
import type { Engine } from './docker/engine.ts';
import { AcceptanceFolder } from './integrity/acceptances.ts';
import { reportArchive } from './integrity/archive.ts';
import { goodCopyFinder } from './integrity/last-good.ts';
import { Nightly } from './integrity/nightly.ts';
import type { Journal } from './ports.ts';
import { inventoryPath } from './sigils/inventory/inventory-file.ts';
import { SnapshotKeeper } from './sigils/kept/keeper.ts';
import type { ScanResult } from './sigils/scan.ts';
import { StoreWatch } from './stores.ts';
import type { StorePlace } from './tables/table-settings.ts';

/** The engine that the settings name. */
export function engineOf({ docker }: AgentSettings): Engine {
  const { socketPath, label } = docker;
  return dockerEngine(label === undefined ? { socketPath } : { socketPath, label });
}

/** The hands on that engine, for one order: its signed entry goes along, and what it makes, which an executor in between asks for. */
export function controlOf(
  { docker }: AgentSettings,
  order: SignedText,
  wanted: DesiredContainer | undefined,
): EngineControl {
  const { socketPath } = docker;
  return dockerControl({ socketPath, order, wanted: wanted === undefined ? undefined : wantedText(wanted) });
}

/** What is done to images without an order: to look for them, and to keep good ones by a tag of our own. */
export function imageTagsOf({ docker }: AgentSettings): Pick<EngineControl, 'findImage' | 'tagImage' | 'untag'> {
  return dockerControl({ socketPath: docker.socketPath });
}

export interface SourceOptions {
  readonly node: string;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onScan?: (result: ScanResult) => void;
  readonly onRead?: (store: string, records: number) => void;
}

/** What git wants on this node, from wherever commits come: the repository of the settings is one of several ways. */
export function desiredSourceOf({ manifest, dataDir }: AgentSettings, options: SourceOptions): DesiredSource {
  const { node, journal, clock, logger } = options;
  const repository = manifest.repository === undefined ? undefined : gitRepository(manifest.repository);
  return new DesiredSource({ node, journal, clock, logger, dataDir, repository, trust: trustOf(manifest) });
}

/** Who may sign commits, by the settings. */
export function trustOf({ allowedSigners, revokedSigners, gpgHome }: AgentSettings['manifest']): Trust {
  return { allowedSigners, revokedSigners, gpgHome };
}

/** What keeps the last good states of a store; undefined for a table, and where it is not wanted. */
function keeperOf(
  { dataDir, sigils, integrity }: AgentSettings,
  [store, place]: [name: string, place: StorePlace],
  { clock, logger }: SourceOptions,
): SnapshotKeeper | undefined {
  const { by, ...retention } = integrity.snapshots;
  if (by === 'off' || typeof place !== 'string') return undefined;
  const settings = { ...retention, by };
  return new SnapshotKeeper({ store, path: place, dataDir, secrets: sigils.secrets, settings, clock, logger });
}

/** A watch for each sigil store that the settings name. */
export function storeWatchesOf(settings: AgentSettings, options: SourceOptions): StoreWatch[] {
  const { dataDir, sigils } = settings;
  const { secrets, fullScanCpuShare } = sigils;
  const acceptances = new AcceptanceFolder(dataDir);
  return Object.entries(sigils.stores).map(
    ([name, place]) =>
      new StoreWatch({
        ...options,
        ...{ name, place, secrets, fullScanCpuShare },
        inventoryPath: inventoryPath(dataDir, name),
        keeper: keeperOf(settings, [name, place], options),
        acceptances,
      }),
  );
}

/** What checks them completely by a schedule; undefined where there are no stores, or there is no schedule. */
export function nightlyOf(
  settings: AgentSettings,
  stores: readonly StoreWatch[],
  { node, journal, clock, logger }: SourceOptions,
): Nightly | undefined {
  const { dataDir, sigils, integrity } = settings;
  if (stores.length === 0 || integrity.schedule === noSchedule) return undefined;
  const timetable = { schedule: parseCron(integrity.schedule), jitterMs: jitterOf(node, integrity.jitterMs) };
  const archive = reportArchive(dataDir, integrity);
  const [eventSecrets, findGoodCopies] = [sigils.secrets.length, goodCopyFinder(settings, clock)];
  return new Nightly({ node, stores, eventSecrets, archive, findGoodCopies, timetable, journal, clock, logger });
}
