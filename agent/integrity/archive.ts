import { createHash } from 'node:crypto';
import { lstat, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { rfc3339 } from '../../common/clock.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { type IntegrityReport, integrityReport, reportId } from '../../common/integrity-report.ts';
import { limits } from '../../common/limits.ts';
import { printableJson } from '../../common/printable.ts';
import { makeFolder, writeDurably } from '../data/durable-file.ts';
import { readBounded } from '../data/plain-file.ts';

export interface Retention {
  readonly keepDays: number;
  readonly keepReports: number;
}

/** A report as it lies in the archive. */
export interface ArchivedReport {
  readonly report: IntegrityReport;
  /** The whole file: one line of JSON. */
  readonly text: string;
}

/**
 * The reports of a node, a file each, named by their ids. Files of other names, torn ones, and whatever else stands in the folder is
 * passed over. Whoever adds holds the run lock; reading needs none.
 */
export interface ReportArchive {
  readonly folder: string;
  /** Newest first; empty when nothing was ever archived. @throws AppError `validation.config` for a folder that cannot be read */
  ids(): Promise<readonly string[]>;
  /** Undefined when there is no such report, or it is no report any more. */
  read(id: string): Promise<ArchivedReport | undefined>;
  /** Makes the folder, if it is not there. @throws the file system's error */
  prepare(): Promise<void>;
  /**
   * Resolved means on disk. Removes what is to be kept no longer, and positions of runs by hand that nobody goes on with any more.
   * @returns hex SHA-256 of the file
   * @throws the file system's error when it cannot be written
   */
  add(report: IntegrityReport): Promise<string>;
  /** When each of these findings was seen first, by the newest report that lists it; those that none lists are not in the result. */
  firstSeen(findingIds: Iterable<string>): Promise<ReadonlyMap<string, string>>;
}

export function reportArchive(dataDir: string, { keepDays, keepReports }: Retention): ReportArchive {
  const folder = join(dataDir, 'reports');
  const pathOf = (id: string) => join(folder, `${id}.json`);
  const ids = async () => (await namesIn(folder)).flatMap((name) => idOf(name) ?? []).sort(newestFirst);
  const read = (id: string) => readReport(pathOf(id), id);
  return {
    folder,
    ids,
    read,
    prepare: () => makeFolder(folder),
    add: async (report) => {
      await makeFolder(folder);
      const text = printableJson(report);
      await writeDurably(pathOf(report.id), text);
      const oldest = oldestKept(report.startedAt, keepDays);
      const outdated: string[] = [];
      let bytes = 0;
      for (const [newer, id] of (await ids()).entries()) {
        bytes += await sizeOf(pathOf(id));
        if (newer < limits.reportsKeptAnyway) continue;
        if (newer >= keepReports || id < oldest || bytes > limits.maxReportArchiveBytes) outdated.push(id);
      }
      const names = await namesIn(folder);
      const torn = names.filter((name) => tornName.test(name));
      const stale = await notWrittenSince(folder, names.filter(isOfPosition), staleSince(report));
      for (const name of [...outdated.map((id) => `${id}.json`), ...torn, ...stale])
        await removeQuietly(join(folder, name));
      return createHash('sha256').update(text).digest('hex');
    },
    firstSeen: async (findingIds) => {
      const sought = new Set(findingIds);
      const seen = new Map<string, string>();
      if (sought.size === 0) return seen;
      for (const id of await ids()) {
        const stores = (await read(id))?.report.stores ?? [];
        for (const finding of stores.flatMap(({ findings }) => findings)) {
          if (sought.delete(finding.id)) seen.set(finding.id, finding.firstSeen);
        }
        if (sought.size === 0) break;
      }
      return seen;
    },
  };
}

/** What a crash leaves of a report that was being written (`writeDurably`). */
const tornName = /^\d{8}T\d{9}Z-[0-9a-f]{8}\.json\.[0-9a-f-]{36}\.tmp$/;

/** Where a run by hand had come in a store: nobody goes on with it after this time, though it be as large as an inventory. */
function isOfPosition(name: string): boolean {
  return /^.+\.run\.(?:progress|taking)(?:\.new)?$/.test(name);
}

/** Unix milliseconds. */
function staleSince({ startedAt }: IntegrityReport): number {
  return Date.parse(startedAt) - limits.fullScanResumeMs;
}

async function notWrittenSince(folder: string, names: readonly string[], sinceMs: number): Promise<readonly string[]> {
  const stale: string[] = [];
  for (const name of names) {
    const found = await lstat(join(folder, name)).catch(() => undefined);
    if (found !== undefined && found.mtimeMs < sinceMs) stale.push(name);
  }
  return stale;
}

function idOf(name: string): string | undefined {
  const id = name.replace(/\.json$/, '');
  return name !== id && reportId.safeParse(id).success ? id : undefined;
}

function newestFirst(left: string, right: string): number {
  return left < right ? 1 : -1;
}

/** The beginning of the first id that is not too old. */
function oldestKept(startedAt: string, keepDays: number): string {
  return rfc3339(Date.parse(startedAt) - keepDays * 86_400_000).replace(/[-:.]/g, '');
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return [];
    throw new AppError('validation.config', `the folder of reports ${folder} cannot be read (${errnoOf(cause)})`, {
      cause,
    });
  }
}

async function readReport(path: string, id: string): Promise<ArchivedReport | undefined> {
  if (!reportId.safeParse(id).success) return undefined;
  const text = await readBounded(path, limits.maxReportBytes).catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const parsed = integrityReport.safeParse(JSON.parse(text));
    return parsed.success && parsed.data.id === id ? { report: parsed.data, text } : undefined;
  } catch {
    return undefined;
  }
}

async function sizeOf(path: string): Promise<number> {
  const found = await lstat(path).catch(() => undefined);
  return found?.size ?? 0;
}

/** What cannot be removed now is tried again after the next run. */
async function removeQuietly(path: string): Promise<void> {
  await unlink(path).catch(() => {});
}
