import { createHash } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, lstat, open, readlink, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pLimit from 'p-limit';
import type { Clock } from '../../common/clock.ts';
import type { SeenFiles } from '../../common/config-drift.ts';
import type { WantedFiles } from '../../common/container-config.ts';
import { errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

/** Looks at what lies behind the binds of containers, on the disk of this node. */
export interface MountedFiles {
  /**
   * The content of the files that are wanted in a container. A file is read when something about it has changed since it was read last.
   * Never rejects: what cannot be read is said in its place.
   * @param volumes of the container, in the spelling of `ContainerConfig`.
   */
  look(wanted: WantedFiles, volumes: readonly string[]): Promise<SeenFiles>;
}

export interface MountedFilesOptions {
  readonly clock: Pick<Clock, 'now'>;
  /** How long one look at one file may take. */
  readonly timeoutMs?: number;
}

/** `sha256:<64 hex>`, null for a file that is not there, or why nothing can be said of it. */
type Content = string | null;

interface Remembered {
  readonly stamp: string;
  readonly content: string;
}

interface Reading {
  readonly content: Promise<Content>;
  isLate: boolean;
}

/** Of all containers at once: a network file system that hangs must not take the threads that everything else needs. */
const readsAtOnce = 2;
const chunkBytes = 256 * 1024;

export function createMountedFiles({
  clock,
  timeoutMs = limits.mountedFileTimeoutMs,
}: MountedFilesOptions): MountedFiles {
  /** By the path on the node; the one that was looked at last stands last. */
  const remembered = new Map<string, Remembered>();
  /** Reads under way, which nobody can call off. */
  const reading = new Map<string, Reading>();
  const slots = pLimit(readsAtOnce);

  function begin(path: HostPath, key: string): Reading {
    const content = slots(() => readAt(path, key)).finally(() => reading.delete(key));
    const begun = { content, isLate: false };
    reading.set(key, begun);
    return begun;
  }

  async function content(path: HostPath): Promise<Content> {
    const key = join(path.source, path.rest);
    const its = reading.get(key) ?? begin(path, key);
    // What has kept one look waiting keeps none waiting again.
    if (its.isLate) return late;
    const calledOff = new AbortController();
    const timer = delay(timeoutMs, undefined, { signal: calledOff.signal }).then(
      () => {
        its.isLate = true;
        return late;
      },
      () => late,
    );
    try {
      return await Promise.race([its.content, timer]);
    } finally {
      calledOff.abort();
    }
  }

  async function readAt(path: HostPath, key: string): Promise<Content> {
    try {
      const before = remembered.get(key);
      const read = await contentOf(path, before);
      remembered.delete(key);
      if (typeof read === 'object' && read !== null) remember(key, read);
      return typeof read === 'object' && read !== null ? read.content : read;
    } catch (thrown) {
      const errno = errnoOf(thrown);
      if (errno === 'ENOENT' || errno === 'ENOTDIR') return null;
      return errno === 'ELOOP' ? linked : `cannot be read (${errno ?? 'unknown error'})`;
    }
  }

  /** A file system's clock may be too coarse to tell two writes apart: what was just written is read again the next time. */
  function remember(key: string, { settledMs, ...read }: ReadFile): void {
    if (clock.now() - settledMs < limits.mountedFileSettleMs) return;
    remembered.set(key, read);
    const [oldest] = remembered.keys();
    if (oldest !== undefined && remembered.size > limits.mountedFilesRemembered) remembered.delete(oldest);
  }

  return {
    look: async (wanted, volumes) => {
      const all = Object.keys(wanted).map(async (inside): Promise<[string, Content]> => {
        const path = behind(inside, volumes);
        return [inside, typeof path === 'string' ? path : await content(path)];
      });
      return new Map(await Promise.all(all));
    },
  };
}

/** A path of the node. `rest` begins with a slash, or is empty where the bind is the file itself. */
interface HostPath {
  readonly source: string;
  readonly rest: string;
}

/** What lies behind a path inside a container; or why that cannot be said. The deepest mount above it counts. */
function behind(inside: string, volumes: readonly string[]): HostPath | string {
  const mounts = volumes.flatMap((volume) => {
    const [, source = '', target = ''] = /^(.*):([^:]*):(?:ro|rw)$/s.exec(volume) ?? [];
    const isAbove = target === '/' || inside === target || inside.startsWith(`${target}/`);
    return target !== '' && isAbove ? [{ source, target: target === '/' ? '' : target }] : [];
  });
  const [deepest] = mounts.sort((a, b) => b.target.length - a.target.length);
  if (deepest === undefined) return 'not mounted from the node';
  if (!deepest.source.startsWith('/')) return 'in a volume, which is not looked into';
  return { source: deepest.source, rest: inside.slice(deepest.target.length) };
}

const linked = 'a symbolic link is in its path';
const noFile = 'not a regular file';
const late = 'not read in time';

interface ReadFile extends Remembered {
  /** When it was changed last, by the file system's clock, Unix milliseconds. */
  readonly settledMs: number;
}

/**
 * The source of a bind may be a link, which the engine has followed too. Below it nothing is followed: whoever may write there must
 * not lead the agent, which is root, to another file, nor make it open a device.
 */
async function contentOf({ source, rest }: HostPath, before: Remembered | undefined): Promise<ReadFile | string> {
  const path = join(await realpath(source), rest);
  const found = await lstat(path, { bigint: true });
  if (found.isSymbolicLink()) return linked;
  if (!found.isFile()) return noFile;
  if (before?.stamp === stampOf(found)) return { ...before, settledMs: settledMs(found) };
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    // Where the kernel says that it is: folders on the way may have been links.
    if ((await readlink(`/proc/self/fd/${file.fd}`)) !== path) return linked;
    return await hashed(file);
  } finally {
    await file.close();
  }
}

async function hashed(file: FileHandle): Promise<ReadFile | string> {
  const first = await file.stat({ bigint: true });
  if (!first.isFile()) return noFile;
  const most = limits.maxMountedFileBytes;
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(chunkBytes);
  for (let bytes = 0; ; ) {
    if (bytes > most || first.size > most) return `larger than ${most} bytes`;
    const { bytesRead } = await file.read(chunk, 0, chunk.length, bytes);
    if (bytesRead === 0) break;
    hash.update(chunk.subarray(0, bytesRead));
    bytes += bytesRead;
  }
  const last = await file.stat({ bigint: true });
  if (stampOf(first) !== stampOf(last)) return 'it was written to while it was read';
  return { stamp: stampOf(last), content: `sha256:${hash.digest('hex')}`, settledMs: settledMs(last) };
}

/** Anybody can set the time of the last write back; that of the last change is the kernel's. */
function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join('/');
}

function settledMs({ mtimeMs, ctimeMs }: BigIntStats): number {
  return Number(mtimeMs > ctimeMs ? mtimeMs : ctimeMs);
}
