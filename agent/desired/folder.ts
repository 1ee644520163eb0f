import { randomUUID } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { AppError, errnoOf } from '../../common/errors.ts';
import { ownText, timestamp } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import { giveToOwnerOf, makeFolder, renameDurably, syncFile, writeDurably } from '../data/durable-file.ts';
import { type ShownStanding, shownStanding } from './standing.ts';

/** What `desired accept` leaves for the agent: whoever can write into the data directory may act as this node anyway. */
const releaseFile = z.strictObject({ id: z.uuid(), commit: z.string(), at: timestamp, reason: ownText });
export type Release = z.infer<typeof releaseFile>;

/**
 * The files of the data directory by which commands and the running agent tell each other about the desired state. Commands
 * may run as root: what they leave belongs to the owner of the data directory.
 */
export class DesiredFolder {
  readonly #dataDir: string;

  constructor(dataDir: string) {
    this.#dataDir = resolve(dataDir);
  }

  /** Does `work` with an empty folder that is gone afterwards. */
  async withScratch<T>(work: (folder: string) => Promise<T>): Promise<T> {
    await mkdir(this.#scratch, { recursive: true, mode: 0o700 });
    return withFolder(join(this.#scratch, 'look-'), work);
  }

  /** Removes what a run that was killed has left. Only the running agent may. */
  async tidy(): Promise<void> {
    await rm(this.#scratch, { recursive: true, force: true });
  }

  /** Bundles that were brought, oldest name first. */
  async waiting(): Promise<readonly string[]> {
    const names = await readdir(this.#inbox).catch((thrown: unknown) => {
      if (errnoOf(thrown) === 'ENOENT') return [];
      throw thrown;
    });
    const bundles = names.filter((name) => name.endsWith(bundleSuffix)).sort();
    return bundles.slice(0, limits.maxWaitingBundles).map((name) => join(this.#inbox, name));
  }

  /**
   * Puts a bundle where the running agent looks, whole or not at all.
   * @throws AppError `state.busy` when too many wait already.
   */
  async bring(path: string, atMs: number): Promise<void> {
    if ((await this.waiting()).length >= limits.maxWaitingBundles) {
      throw new AppError('state.busy', `${limits.maxWaitingBundles} bundles wait already; is the agent running?`);
    }
    await makeFolder(this.#inbox);
    await giveToOwnerOf(this.#dataDir, this.#inbox);
    const name = join(this.#inbox, `${String(atMs).padStart(16, '0')}-${randomUUID()}`);
    try {
      await copyFile(path, name);
      await syncFile(name);
      await giveToOwnerOf(this.#dataDir, name);
      await renameDurably(name, `${name}${bundleSuffix}`);
    } catch (thrown) {
      await rm(name, { force: true });
      throw thrown;
    }
  }

  async writeRelease(release: Release): Promise<void> {
    await writeDurably(this.#release, `${JSON.stringify(release, null, 2)}\n`);
    await giveToOwnerOf(this.#dataDir, this.#release);
  }

  /** The release that stands, unless it is the one that was made use of. What cannot be read releases nothing. */
  async release(used: string | null): Promise<Release | undefined> {
    const release = await readJson(this.#release, releaseFile);
    return release?.id === used ? undefined : release;
  }

  async show(shown: ShownStanding): Promise<void> {
    await writeDurably(this.#shown, `${JSON.stringify(shown, null, 2)}\n`);
  }

  async shown(): Promise<ShownStanding | undefined> {
    return readJson(this.#shown, shownStanding);
  }

  get #scratch(): string {
    return join(this.#dataDir, 'desired.tmp');
  }

  get #inbox(): string {
    return join(this.#dataDir, 'desired.inbox');
  }

  get #release(): string {
    return join(this.#dataDir, 'desired.accepted.json');
  }

  get #shown(): string {
    return join(this.#dataDir, 'desired.json');
  }
}

const bundleSuffix = '.bundle';

/** Does `work` with a new folder whose path begins with `prefix`, and removes it. */
export async function withFolder<T>(prefix: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(prefix);
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (thrown) {
    const isAway = ['ENOENT', 'EACCES'].includes(errnoOf(thrown) ?? '');
    if (isAway || thrown instanceof SyntaxError || thrown instanceof z.ZodError) return undefined;
    throw thrown;
  }
}
