import { randomUUID } from 'node:crypto';
import { link, lstat, readdir, readFile, rm, truncate, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { readBounded } from './plain-file.ts';

/** A process, so that no later one can be taken for it: numbers are used again, and boots count ticks from zero. */
const holder = z.strictObject({
  pid: z.int().positive(),
  /** Clock ticks after boot at which it started, and the boot; null where the system does not tell. */
  startTicks: z.string().max(32).nullable(),
  boot: z.string().max(64).nullable(),
  /** One taking of the lock. */
  token: z.uuid(),
});

type Holder = z.infer<typeof holder>;

const claimPrefix = 'run.claim.';

/**
 * Takes the lock of runs in a folder, such as of integrity runs: one at a time on a node, the agent's own or a person's. Holds while
 * its process lives; a lock whose process is gone, however it ended, counts for nothing.
 *
 * Locks are numbered, and the one with the highest number counts. A stale one is never taken away before a higher one is there: whoever
 * has read it, and is slow, then finds that it is not the last any more, and cannot take away the lock of somebody else.
 * @param what a run is, for whoever is turned away
 * @returns gives it back
 * @throws AppError `state.busy` while another run holds it; the file system's error
 */
export async function takeRunLock(folder: string, what: string): Promise<() => Promise<void>> {
  const token = randomUUID();
  const claim = join(folder, `${claimPrefix}${token}`);
  // Readable by whoever can look into the folder: a run of another user must be able to judge it.
  await writeFile(claim, JSON.stringify({ ...(await thisProcess()), token }), { flag: 'wx', mode: 0o644 });
  try {
    for (let attempt = 0; attempt < limits.runLockAttempts; attempt++) {
      const last = await lastLock(folder);
      await requireGone(pathOf(folder, last), what);
      const mine = last + 1;
      // By link, not by O_EXCL: whoever sees the lock sees all that stands in it.
      if (!(await linked(claim, pathOf(folder, mine)))) continue;
      const isLast = (await lastLock(folder)) === mine;
      await removeLocks(folder, (nth) => (isLast ? nth < mine : nth === mine));
      if (!isLast) continue;
      await removeDeadClaims(folder);
      return () => giveBack(pathOf(folder, mine), token);
    }
  } finally {
    await unlink(claim);
  }
  throw busy(what, undefined);
}

function pathOf(folder: string, nth: number): string {
  return join(folder, `run.lock.${nth}`);
}

async function locksIn(folder: string): Promise<readonly number[]> {
  const names = await readdir(folder);
  return names.flatMap((name) => /^run\.lock\.([1-9][0-9]{0,14})$/.exec(name)?.[1] ?? []).map(Number);
}

/** 0 when there is none. */
async function lastLock(folder: string): Promise<number> {
  return Math.max(0, ...(await locksIn(folder)));
}

async function removeLocks(folder: string, isDone: (nth: number) => boolean): Promise<void> {
  const done = (await locksIn(folder)).filter(isDone);
  await Promise.all(done.map((nth) => rm(pathOf(folder, nth), { recursive: true, force: true })));
}

function busy(what: string, pid: number | undefined): AppError {
  const whose = pid === undefined ? '' : ` (process ${pid})`;
  return new AppError('state.busy', `another ${what} is under way on this node${whose}; wait for its end`, {
    retryable: true,
    details: { pid },
  });
}

async function linked(claim: string, path: string): Promise<boolean> {
  try {
    await link(claim, path);
    return true;
  } catch (thrown) {
    if (errnoOf(thrown) === 'EEXIST') return false;
    throw thrown;
  }
}

/** Left by whoever was killed with one foot in the door. */
async function removeDeadClaims(folder: string): Promise<void> {
  const claims = (await readdir(folder))
    .filter((name) => name.startsWith(claimPrefix))
    .map((name) => join(folder, name));
  for (const path of claims) {
    const found = await readHolder(path);
    // One without a holder may be in the middle of being written.
    if (found !== undefined && !found.isAlive) await rm(path, { force: true });
  }
}

/** @throws AppError `state.busy` when the lock's holder is not gone */
async function requireGone(path: string, what: string): Promise<void> {
  const found = await readHolder(path);
  if (found?.isAlive) throw busy(what, found.pid);
}

/** Undefined when nobody is named there. */
async function readHolder(path: string): Promise<{ readonly pid: number; readonly isAlive: boolean } | undefined> {
  const [text, owner] = await readLock(path);
  const found = parseHolder(text);
  return found && { pid: found.pid, isAlive: await lives(found, owner) };
}

/** Text and owner of a lock. One that was given back, is not there or is no lock at all reads as empty. */
async function readLock(path: string): Promise<[text: string, owner: number]> {
  try {
    const { uid } = await lstat(path);
    return [(await readBounded(path, limits.maxRunLockBytes)) ?? '', uid];
  } catch {
    return ['', 0];
  }
}

function parseHolder(text: string): Holder | undefined {
  try {
    return holder.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

async function lives({ pid, startTicks, boot }: Holder, owner: number): Promise<boolean> {
  if (boot !== (await thisBoot()) || !exists(pid)) return false;
  const ticks = await startTicksOf(pid);
  if (ticks !== null) return ticks === startTicks;
  // Its folder in /proc is hidden from us, as units may have it, so it is another user's: if the lock is ours, it is not his.
  return startTicks === null || owner !== process.geteuid?.();
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return errnoOf(thrown) === 'EPERM';
  }
}

async function thisProcess(): Promise<Omit<Holder, 'token'>> {
  return { pid: process.pid, startTicks: await startTicksOf(process.pid), boot: await thisBoot() };
}

function thisBoot(): Promise<string | null> {
  return readFile('/proc/sys/kernel/random/boot_id', 'utf8').then(
    (text) => text.trim(),
    () => null,
  );
}

/** Field 22 of proc_pid_stat(5); the name before it may hold spaces and parentheses. Null when it cannot be read. */
function startTicksOf(pid: number): Promise<string | null> {
  return readFile(`/proc/${pid}/stat`, 'utf8').then(
    (text) => text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null,
    () => null,
  );
}

/** Emptied, not removed: numbers only grow. */
async function giveBack(path: string, token: string): Promise<void> {
  const [text] = await readLock(path);
  if (parseHolder(text)?.token === token) await truncate(path);
}
