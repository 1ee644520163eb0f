import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { FileWindow } from './file-window.ts';
import { readLog } from './log-scan.ts';
import type { Pacer } from './pacer.ts';
import type { StoreFile, StoreFiles } from './store-files.ts';
import { type LiveTable, type StoreVersion, VersionBuilder } from './version-edit.ts';

/** One bad place in the MANIFEST. */
export interface ManifestProblem {
  readonly offset: number;
  readonly detail: string;
}

/** The files a store consisted of at one moment, by name, as its MANIFEST told. */
export interface Snapshot {
  readonly manifest: string;
  readonly problems: readonly ManifestProblem[];
  readonly tables: ReadonlyMap<string, LiveTable>;
  /** Live logs, oldest first. */
  readonly logs: readonly string[];
}

const currentText = /^(MANIFEST-\d{1,20})\n$/;
const manifestName = /^MANIFEST-\d+$/;
const tableName = /^(\d{1,15})\.(?:ldb|sst)$/;
const logName = /^(\d{1,15})\.log$/;
const knownComparator = 'leveldb.BytewiseComparator';

/** A MANIFEST as far as it was read, without a problem. */
interface Followed {
  readonly manifest: string;
  readonly identity: string;
  readonly version: VersionBuilder;
  readonly resumeAt: number;
}

/**
 * Takes snapshots of one store, one after another. A MANIFEST grows for as long as its store stays open, so the second look reads
 * only what came since the first: the longer a look takes, the likelier it is that a file is gone before it can be opened.
 */
export class Snapshots {
  private readonly files: StoreFiles;
  private readonly window: FileWindow;
  private readonly pacer: Pacer;
  /** Null when the next look has to begin where the MANIFEST does. */
  private followed: Followed | null = null;

  /** @param window which nobody else uses while a snapshot is taken */
  constructor(files: StoreFiles, window: FileWindow, pacer: Pacer) {
    this.files = files;
    this.window = window;
    this.pacer = pacer;
  }

  /**
   * Reads CURRENT and the MANIFEST it names. LevelDB deletes a file only after a MANIFEST without it is on disk, so a
   * file that turns out to be gone means: take a newer snapshot.
   * @throws AppError `store.missing`, `store.not_a_store`, `store.corrupt` (CURRENT or MANIFEST unusable), `store.unreadable`
   */
  async take(): Promise<Snapshot> {
    const { files, window, pacer } = this;
    let failure: AppError | null = null;
    for (let attempt = 0; attempt < limits.sigilLookUpAttempts; attempt++) {
      const manifest = await currentManifest(files, window);
      const file = manifest instanceof AppError ? null : await files.open(manifest);
      if (file !== null) return this.readManifest(file);
      // A store that is just being opened replaces CURRENT and removes the MANIFEST it named before.
      failure =
        manifest instanceof AppError ? manifest : corrupt(files, `${manifest}, which CURRENT names, is missing`);
      await pacer.rest();
    }
    throw failure ?? corrupt(files, 'CURRENT does not settle');
  }

  private async readManifest(file: StoreFile): Promise<Snapshot> {
    const { files } = this;
    const { version, resumeAt: startAt } = this.takeFollowed(file);
    const problems: ManifestProblem[] = [];
    let edits = 0;
    try {
      const reading = await readLog(this.window, file, startAt, async (edit, endsAt) => {
        edits++;
        const sound = version.apply(edit);
        if (version.tables.size >= limits.sigilMaxTables) {
          throw corrupt(files, `${file.name} names ${limits.sigilMaxTables} tables or more`);
        }
        if (!sound) problems.push({ offset: endsAt, detail: 'the edit ending here is malformed' });
      });
      problems.push(...reading.problems);
      const { resumeAt } = reading;
      const isEmpty = startAt === 0 && edits === 0;
      if (problems.length === 0 && isEmpty) problems.push({ offset: 0, detail: 'the MANIFEST holds no edit' });
      // Some went unread where edits were found, and reading is not to go on behind them.
      const isWhole = problems.length === 0 && (edits === 0 || resumeAt > startAt);
      this.followed = isWhole ? { manifest: file.name, identity: file.identity, version, resumeAt } : null;
    } finally {
      await file.close();
    }
    const known = version.comparator === null || version.comparator === knownComparator;
    if (problems.length === 0 && !known) throw notAStore(files, `it orders keys by ${version.comparator}`);
    return filesOf(file.name, problems, version, await files.list());
  }

  /** What was read of it before; nothing of another file. It does not count again before this look went well. */
  private takeFollowed({ name, identity, bytes }: StoreFile): Pick<Followed, 'version' | 'resumeAt'> {
    const { followed } = this;
    this.followed = null;
    const goesOn = followed?.manifest === name && followed.identity === identity && followed.resumeAt <= bytes;
    return goesOn ? followed : { version: new VersionBuilder(), resumeAt: 0 };
  }
}

/** The one snapshot of whoever needs no other; as {@link Snapshots.take}. */
export function takeSnapshot(files: StoreFiles, window: FileWindow, pacer: Pacer): Promise<Snapshot> {
  return new Snapshots(files, window, pacer).take();
}

async function currentManifest(files: StoreFiles, window: FileWindow): Promise<string | AppError> {
  const names = await files.list();
  const isStore = names.some((name) => manifestName.test(name));
  const file = names.includes('CURRENT') ? await files.open('CURRENT') : null;
  if (file === null) return isStore ? corrupt(files, 'CURRENT is missing') : notAStore(files);
  try {
    window.use(file);
    const text = (await window.bytes(0, 64)).toString('latin1');
    const name = currentText.exec(text)?.[1];
    return name ?? (isStore ? corrupt(files, 'CURRENT does not name a MANIFEST') : notAStore(files));
  } finally {
    await file.close();
  }
}

/** The folder is listed after the MANIFEST was read: a log it still needs can only be gone if a newer MANIFEST exists. */
function filesOf(
  manifest: string,
  problems: readonly ManifestProblem[],
  version: StoreVersion,
  names: readonly string[],
): Snapshot {
  const onDisk = new Map(numbered(names, tableName));
  const tables = new Map<string, LiveTable>();
  for (const table of version.tables.values())
    tables.set(onDisk.get(table.number) ?? fileName(table.number, 'ldb'), table);
  // A damaged MANIFEST no longer says which tables count, so every table there is gets checked.
  for (const [number, name] of problems.length > 0 ? onDisk : []) {
    if (!tables.has(name)) tables.set(name, { number, level: 0, bytes: null, bounds: null });
  }
  const logs = numbered(names, logName).filter(
    ([number]) => number >= version.logNumber || number === version.prevLogNumber,
  );
  if (version.logNumber > 0 && !logs.some(([number]) => number === version.logNumber)) {
    logs.push([version.logNumber, fileName(version.logNumber, 'log')]);
  }
  logs.sort(([left], [right]) => left - right);
  return { manifest, problems, tables, logs: logs.map(([, name]) => name) };
}

function numbered(names: readonly string[], pattern: RegExp): [number, string][] {
  return names.flatMap((name): [number, string][] => {
    const digits = pattern.exec(name)?.[1];
    return digits === undefined ? [] : [[Number(digits), name]];
  });
}

function fileName(number: number, extension: string): string {
  return `${String(number).padStart(6, '0')}.${extension}`;
}

function corrupt(files: StoreFiles, reason: string): AppError {
  return new AppError('store.corrupt', `sigil store ${files.path}: ${reason}; repair it or restore it from a backup`);
}

function notAStore(files: StoreFiles, reason = 'it has no CURRENT file'): AppError {
  return new AppError('store.not_a_store', `${files.path} is not a LevelDB store that can be checked: ${reason}`);
}
