import { randomUUID } from 'node:crypto';
import { link, lstat, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { readBounded } from './archive.ts';

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

/**
 * Takes the lock of integrity runs in a folder: one run at a time on a node, the agent's own or a person's. Holds while its process
 * lives; a lock whose process is gone, however it ended, counts for nothing. What two runs at once would do is the same work twice.
 * @returns gives it back
 * @throws AppError `state.busy` while another run holds it; the file system's error
 */
export async function takeRunLock(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, 'run.lock');
  const token = randomUUID();
  const claim = `${path}.${token}`;
  // Readable by whoever can look into the folder: a run of another user must be able to judge it.
  await writeFile(claim, JSON.stringify({ ...(await thisProcess()), token }), { flag: 'wx', mode: 0o644 });
  try {
    for (let attempt = 0; attempt < limits.runLockAttempts; attempt++) {
      // By link, not by O_EXCL: whoever sees the lock sees all that stands in it.
      if (await linked(claim, path)) return () => giveBack(path, token);
      await requireGone(path, token);
    }
  } finally {
    await unlink(claim);
  }
  throw busy(undefined);
}

function busy(pid: number | undefined): AppError {
  const whose = pid === undefined ? '' : ` (process ${pid})`;
  return new AppError('state.busy', `another integrity run is under way on this node${whose}; wait for its end`, {
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

/** Takes a lock away whose holder is gone. @throws AppError `state.busy` when he is not */
async function requireGone(path: string, token: string): Promise<void> {
  const [text, owner] = await readLock(path);
  if (text === undefined) return;
  const found = parseHolder(text);
  if (found !== undefined && (await lives(found, owner))) throw busy(found.pid);
  const aside = `${path}.gone.${token}`;
  await rename(path, aside).catch(unlessAbsent);
  const [taken] = await readLock(aside);
  // Somebody else was faster, and what was taken away is his: it goes back, and is respected in the next attempt.
  if (taken !== undefined && taken !== text) await linked(aside, path);
  await rm(aside, { recursive: true, force: true });
}

/** Text and owner of a lock; undefined when there is none. What is no lock at all reads as an empty one. */
async function readLock(path: string): Promise<[text: string | undefined, owner: number]> {
  try {
    const { uid } = await lstat(path);
    return [(await readBounded(path, limits.maxRunLockBytes)) ?? '', uid];
  } catch (thrown) {
    return [errnoOf(thrown) === 'ENOENT' ? undefined : '', 0];
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

async function giveBack(path: string, token: string): Promise<void> {
  const [text] = await readLock(path);
  if (text !== undefined && parseHolder(text)?.token === token) await unlink(path).catch(unlessAbsent);
}

function unlessAbsent(thrown: unknown): void {
  if (errnoOf(thrown) !== 'ENOENT') throw thrown;
}
