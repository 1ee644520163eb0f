import { open, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { ensureDataDir } from '../data/data-dir.ts';
import { syncFolder } from '../data/durable-file.ts';
import type { Contradiction, EvidenceFolder } from './checkpoint-file.ts';

export function evidencePath(dataDir: string): string {
  return join(dataDir, 'evidence');
}

const suffix = '-contradiction.json';

/** The part of the file that is read again; the rest is for people. */
const evidence = z.object({ notes: z.array(z.string().max(limits.maxNoteChars)) });

/** The {@link EvidenceFolder} on a file system: one file `<time>-contradiction.json` for each, never changed or removed here. */
export function fsEvidenceFolder(path: string, origin: string, clock: Clock): EvidenceFolder {
  return {
    path,
    keep: async (contradiction) => {
      await ensureDataDir(path);
      const time = rfc3339(clock.now());
      const file = join(path, `${time.replaceAll(':', '-')}${suffix}`);
      await writeNew(file, `${JSON.stringify({ time, origin, ...contradiction }, undefined, 2)}\n`);
      await syncFolder(path);
      return file;
    },
    notes: async () => {
      const names = await readdir(path).catch((thrown: unknown) => {
        if (errnoOf(thrown) === 'ENOENT') return [];
        throw unreadable(path, thrown);
      });
      const files = names.filter((name) => name.endsWith(suffix)).sort();
      return (await Promise.all(files.map((name) => readNotes(join(path, name))))).flat();
    },
  };
}

async function writeNew(path: string, text: string): Promise<void> {
  const file = await open(`${path}.tmp`, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.tmp`, path);
}

async function readNotes(path: string): Promise<Contradiction['notes']> {
  try {
    return evidence.parse(JSON.parse(await readFile(path, 'utf8'))).notes;
  } catch (thrown) {
    throw unreadable(path, thrown);
  }
}

function unreadable(path: string, cause: unknown): AppError {
  return new AppError(
    'ledger.checkpoint_file',
    `the evidence ${path} cannot be read${errnoOf(cause) === undefined ? '' : ` (${errnoOf(cause)})`}: ` +
      'find out what happened to it; the collector does not start while it does not know what it is contradicted by',
    { cause, details: { path } },
  );
}
