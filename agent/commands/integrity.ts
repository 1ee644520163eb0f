import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { rfc3339 } from '../../common/clock.ts';
import { AppError, cannotWrite, toAppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { integrityPage } from '../../common/integrity-page.ts';
import { findingsOf, type IntegrityReport, type IntegrityStatus, newReportId } from '../../common/integrity-report.ts';
import { printableJson, printableLines } from '../../common/printable.ts';
import type { AgentSettings } from '../config.ts';
import type { WriteNamed } from '../data/owner.ts';
import { takeRunLock } from '../data/run-lock.ts';
import { ensureDataDir } from '../identity.ts';
import { type ReportArchive, reportArchive } from '../integrity/archive.ts';
import { goodCopyFinder } from '../integrity/last-good.ts';
import { scanBar } from '../integrity/progress.ts';
import { knownBefore, reportOf } from '../integrity/report.ts';
import { checkDone, checkFailed, type StoreCheck } from '../integrity/store-check.ts';
import { formatReport, formatReports } from '../integrity/text.ts';
import { type NamedStore, scanFully } from '../sigils/full-scan.ts';
import { inventoryPath } from '../sigils/inventory/inventory-file.ts';
import type { InventoryRequest, ResumedScan, TakenInventory } from '../sigils/inventory/taking.ts';

export interface IntegrityWorld {
  readonly settings: AgentSettings;
  readonly clock: Clock;
  readonly json: boolean;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** For the files that were named. */
  readonly writeFile: WriteNamed;
  /** Whether standard error is a terminal. */
  readonly terminal: boolean;
  /** Asks whoever sits at the terminal; absent where nobody does. */
  readonly confirm?: ((question: string) => Promise<boolean>) | undefined;
}

/** Where a report goes beside standard output. */
export interface ReportFiles {
  /** One self-contained page. */
  readonly html?: string;
  /** The JSON, as it is archived. */
  readonly report?: string;
}

export interface RunOptions extends ReportFiles {
  readonly node: string;
  /** Only these; all of the settings without. */
  readonly stores?: readonly string[];
  /** That check a store at once; 1 without. */
  readonly threads?: number;
  /** Whether a run that was cut short is not gone on with. */
  readonly fromStart?: boolean;
  readonly checkpointBytes?: InventoryRequest['checkpointBytes'];
}

/**
 * Checks sigil stores completely, now, and archives what it came to. Needs neither identity nor collector, and no agent to be
 * stopped. One that was killed is gone on with where it was. Exit code 0 clean, 1 findings, 2 when something could not be checked.
 * @throws AppError `validation.request` for a store that the settings do not name, `validation.config`, `state.busy` while another
 *   run is under way, `state.conflict` when the result cannot be written; it is shown all the same
 */
export async function integrityRun(world: IntegrityWorld, options: RunOptions): Promise<number> {
  const { settings, clock } = world;
  const stores = chosenStores(settings, options.stores ?? []);
  const archive = reportArchive(settings.dataDir, settings.integrity);
  await ensureDataDir(settings.dataDir);
  const report = await underLock(archive, async () => {
    const startedMs = clock.now();
    const checked: CheckedStore[] = [];
    for (const store of stores) checked.push(await checkStore(world, store, options, archive));
    const checks = checked.map(({ check }) => check);
    const when = { startedMs, finishedMs: clock.now() };
    const eventSecrets = settings.sigils.secrets.length;
    const run = { id: newReportId(startedMs, randomBytes), node: options.node, ...when, checks, eventSecrets };
    const made = reportOf(run, await knownBefore(checks, archive, goodCopyFinder(settings, clock)));
    show(world, made);
    await orLost(archive.folder, () => archive.add(made));
    // Not before: a run that is killed until then has no report, and the next one goes on with its scans.
    for (const { inventory } of checked) await inventory?.keep();
    return made;
  });
  await writeFiles(world, report, options);
  return exitCodeFor[report.status];
}

const exitCodeFor: Readonly<Record<IntegrityStatus, number>> = {
  ok: exitCodes.done,
  findings: exitCodes.findings,
  unchecked: exitCodes.usage,
};

/** What was archived, newest first; reports that cannot be read are named on standard error. */
export async function integrityReports(world: IntegrityWorld): Promise<number> {
  const { settings, json, stdout, stderr } = world;
  const archive = reportArchive(settings.dataDir, settings.integrity);
  const reports: IntegrityReport[] = [];
  for (const id of await archive.ids()) {
    const report = (await archive.read(id))?.report;
    if (report === undefined) stderr(`${join(archive.folder, `${id}.json`)} is damaged\n`);
    else reports.push(report);
  }
  stdout(json ? printableJson({ reports: reports.map(summaryOf) }) : printableLines(formatReports(reports)));
  return exitCodes.done;
}

/**
 * One report of the archive; `--json` gives it byte for byte as its entry in the ledger vouches for it.
 * @throws AppError `resource.not_found`, also for one that is damaged; `state.conflict` when a file cannot be written
 */
export async function integrityShow(world: IntegrityWorld, id: string, files: ReportFiles): Promise<number> {
  const { settings, json, stdout } = world;
  const archive = reportArchive(settings.dataDir, settings.integrity);
  const found = await archive.read(id);
  if (found === undefined) {
    const known = (await archive.ids()).includes(id);
    const why = known ? 'is damaged' : 'is not in the archive; see "integrity reports"';
    throw new AppError('resource.not_found', `report ${JSON.stringify(id)} ${why}`);
  }
  stdout(json ? found.text : printableLines(formatReport(found.report)));
  await writeFiles(world, found.report, files);
  return exitCodes.done;
}

function summaryOf({ id, node, startedAt, finishedAt, status, stores }: IntegrityReport) {
  const counted = stores.map((store) => {
    return { store: store.store, status: store.status, counts: store.counts, findings: findingsOf(store) };
  });
  return { id, node, startedAt, finishedAt, status, stores: counted };
}

function show({ json, stdout }: IntegrityWorld, report: IntegrityReport): void {
  stdout(json ? printableJson(report) : printableLines(formatReport(report)));
}

/** @throws AppError `validation.request` for a store that the settings do not name, `validation.config` when they name none */
export function chosenStores({ sigils }: AgentSettings, names: readonly string[]): NamedStore[] {
  const known = new Map(Object.entries(sigils.stores));
  if (known.size === 0) throw new AppError('validation.config', 'the settings name no sigil store (sigils.stores)');
  return [...new Set(names.length === 0 ? known.keys() : names)].map((name) => {
    const place = known.get(name);
    if (place !== undefined) return { name, place };
    const accepted = [...known.keys()].join(', ');
    throw new AppError(
      'validation.request',
      `the settings name no sigil store ${JSON.stringify(name)}; there is ${accepted}`,
    );
  });
}

/** The store that was named, or the only one. @throws AppError `validation.request` when there are several, as {@link chosenStores} */
export function storeOrOnly(settings: AgentSettings, name: string | undefined): string {
  if (name !== undefined) return name;
  const [only, ...others] = chosenStores(settings, []).map((store) => store.name);
  if (only !== undefined && others.length === 0) return only;
  throw new AppError('validation.request', `give --store; there is ${[only, ...others].join(', ')}`);
}

interface CheckedStore {
  readonly check: StoreCheck;
  /** To be ended when the check is on record; null when the store could not be read. */
  readonly inventory: TakenInventory | null;
}

async function checkStore(
  world: IntegrityWorld,
  store: NamedStore,
  { threads = 1, fromStart = false, checkpointBytes }: RunOptions,
  { folder }: ReportArchive,
): Promise<CheckedStore> {
  const { settings, clock, terminal, stderr } = world;
  const startedMs = clock.monotonicMs();
  const startedAt = rfc3339(clock.now());
  const bar = terminal ? await scanBar(store, stderr, clock) : undefined;
  try {
    const { secrets } = settings.sigils;
    const onResumed = (resumed: ResumedScan) => {
      const { startedAt, records } = resumed;
      stderr(`${store.name}: going on with the run from ${startedAt}, ${records} records checked before\n`);
      bar?.before(resumed);
    };
    const onRefused = (why: string) => {
      stderr(`${store.name}: beginning anew, and not going on with the run that was cut short: ${why}\n`);
    };
    // Beside the lock of the runs, and not beside the agent's own: no two scans may go on with the same.
    const position = join(folder, `${store.name}.run`);
    const left = {
      position,
      fromStart,
      onResumed,
      onRefused,
      ...(checkpointBytes !== undefined && { checkpointBytes }),
    };
    const inventory = { path: inventoryPath(settings.dataDir, store.name), ...left };
    const result = await scanFully(store, { secrets, clock, threads, inventory, onProgress: bar?.progress });
    return { check: checkDone(result, result.findings), inventory: result.inventory };
  } catch (thrown) {
    const durationMs = clock.monotonicMs() - startedMs;
    const check = checkFailed({ store: store.name, startedAt, durationMs }, toAppError(thrown), []);
    return { check, inventory: null };
  } finally {
    bar?.end();
  }
}

async function underLock<T>(archive: ReportArchive, work: () => Promise<T>): Promise<T> {
  const giveBack = await orLost(archive.folder, async () => {
    await archive.prepare();
    return takeRunLock(archive.folder, 'integrity run');
  });
  try {
    return await work();
  } finally {
    await giveBack();
  }
}

async function writeFiles(
  { writeFile }: IntegrityWorld,
  report: IntegrityReport,
  { html, report: json }: ReportFiles,
): Promise<void> {
  if (html !== undefined) await orLost(html, () => writeFile(html, integrityPage(report)));
  if (json !== undefined) await orLost(json, () => writeFile(json, printableJson(report)));
}

/** @throws AppError `state.conflict` when it cannot be written */
export async function orLost<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('state.conflict', cannotWrite(path, cause, process.geteuid?.()), { cause });
  }
}
