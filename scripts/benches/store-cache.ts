import { constants, existsSync, rmSync } from 'node:fs';
import { cp, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromSource } from '../../test/from-source.ts';
import { type Program, startProgram } from '../../test/system.ts';

/** The event secret of every bench store. */
export const storeSecret = 'bench-event-secret';
const showEveryMs = 10_000;
const fillDeadlineMs = 30 * 60_000;

/**
 * A sigil store with valid records of about 400 bytes, copied to `dir`. Making a million takes a minute, so the original is
 * kept in the system's folder for temporary files.
 */
export async function copyStore(dir: string, records: number, progress: (text: string) => void): Promise<void> {
  const kept = join(tmpdir(), `sigilwatch-bench-store-${records}`);
  if (!existsSync(kept)) await fill(kept, records, progress);
  progress(`copying the store of ${records} records`);
  // No hard links: whoever opens the copy would write into the original.
  await cp(kept, dir, { recursive: true, mode: constants.COPYFILE_FICLONE });
}

async function fill(kept: string, records: number, progress: (text: string) => void): Promise<void> {
  const building = `${kept}.building-${process.pid}`;
  const file = join(import.meta.dirname, 'fill-store.ts');
  const args = [...fromSource(file), building, String(records), storeSecret];
  const program = startProgram({ name: 'store filler', command: process.execPath, args });
  progress(`making a store of ${records} records in ${kept}, once`);
  try {
    await filled(program, progress);
    await rename(building, kept);
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
}

async function filled(program: Program, progress: (text: string) => void): Promise<void> {
  const showing = setInterval(() => progress(`  ${program.logs().at(-1) ?? 'starting'}`), showEveryMs);
  try {
    await program.find('is done', (line) => line === 'done' || undefined, fillDeadlineMs);
  } finally {
    clearInterval(showing);
  }
}
