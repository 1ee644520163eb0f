import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { asServices } from './service.ts';

/** Something outside this process that has to go when we go: a child, a server, a folder. */
export interface Leftover {
  /** In order, waiting for it. Can be called again. */
  remove(): Promise<void>;
  /** At once and without waiting: this process is about to end. */
  removeNow(): void;
}

/** Newest last. Of the process, not of a test: a signal and an exit concern everything there is. */
const leftovers = new Set<Leftover>();
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
let watching = false;

/** Takes care that `leftover` goes, however this process ends. @returns the function that says it is gone. */
export function takeCareOf(leftover: Leftover): () => void {
  watchEnd();
  leftovers.add(leftover);
  return () => void leftovers.delete(leftover);
}

/** Removes everything that is left, newest first. Rejects with all that could not be removed, after trying everything. */
export async function removeLeftovers(): Promise<void> {
  const errors: unknown[] = [];
  // What is started meanwhile, by work that has not heard of the end yet, goes too.
  for (let newest = [...leftovers].at(-1); newest !== undefined; newest = [...leftovers].at(-1)) {
    await newest.remove().catch((error: unknown) => errors.push(error));
    leftovers.delete(newest);
  }
  if (errors.length > 0) throw new AggregateError(errors, errors.map(String).join('\n'));
}

/**
 * A folder of our own, gone at the latest with this process. Others may pass through it, as PostgreSQL's user must; and write to it
 * where programs are services, as an operator who has a command write there, which acts as its service's user.
 */
export function makeTemporaryFolder(prefix: string): { readonly path: string; remove(): Promise<void> } {
  const path = mkdtempSync(join(tmpdir(), prefix));
  chmodSync(path, asServices ? 0o777 : 0o711);
  const remove = () => rm(path, { recursive: true, force: true, maxRetries: 3 });
  const forget = takeCareOf({ remove, removeNow: () => rmSync(path, { recursive: true, force: true }) });
  return { path, remove: () => remove().then(forget) };
}

function watchEnd(): void {
  if (watching) return;
  watching = true;
  process.once('exit', removeNow);
  for (const signal of signals) process.on(signal, () => endBy(signal));
}

function removeNow(): void {
  for (const leftover of [...leftovers].reverse()) {
    try {
      leftover.removeNow();
    } catch {
      // The others still have to go.
    }
  }
}

/** A program that listens to the signal itself decides itself what it means. */
function endBy(signal: (typeof signals)[number]): void {
  if (process.listenerCount(signal) > 1) return;
  const end = () => process.exit(128 + constants.signals[signal]);
  removeLeftovers().then(end, end);
}
