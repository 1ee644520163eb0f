import { randomUUID } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { errnoOf } from '../../common/errors.ts';
import { foreignText, ownText, timestamp } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import { giveToOwnerOf, makeFolder, syncFolder, writeDurably } from '../data/durable-file.ts';
import { readBounded } from '../data/plain-file.ts';

/** What `integrity accept` leaves for the agent: whoever can write into the data directory may act as this node anyway. */
const acceptanceFile = z.strictObject({
  store: foreignText,
  /** As reports show it. */
  key: foreignText,
  at: timestamp,
  reason: ownText.min(1),
});

export type Acceptance = z.infer<typeof acceptanceFile>;

/** One that the running agent has not taken up. */
export interface WaitingAcceptance extends Acceptance {
  readonly file: string;
}

/** Acceptances on their way from a command, which may run as root, to the running agent. */
export class AcceptanceFolder {
  private readonly dataDir: string;

  constructor(dataDir: string) {
    this.dataDir = dataDir;
  }

  /** For the agent to find, whole; it belongs to the owner of the data directory. */
  async leave(acceptance: Acceptance): Promise<void> {
    await makeFolder(this.folder);
    await giveToOwnerOf(this.dataDir, this.folder);
    const path = join(this.folder, `${randomUUID()}${suffix}`);
    await writeDurably(path, `${JSON.stringify(acceptance, null, 2)}\n`);
    await giveToOwnerOf(this.dataDir, path);
  }

  /** How many nobody has taken up. */
  async count(): Promise<number> {
    return (await this.names()).length;
  }

  /** Those of a store, as many as one write may hold. What cannot be read accepts nothing. */
  async waiting(store: string): Promise<readonly WaitingAcceptance[]> {
    const waiting: WaitingAcceptance[] = [];
    for (const file of await this.names()) {
      const acceptance = await this.read(file);
      if (acceptance?.store === store) waiting.push({ ...acceptance, file });
      if (waiting.length >= limits.findingsPerWrite) break;
    }
    return waiting;
  }

  /**
   * Resolved means that it does not come back, not after a power cut either: once nobody remembers its file, it would accept a later
   * finding of the same key.
   */
  async remove({ file }: WaitingAcceptance): Promise<void> {
    await rm(join(this.folder, file), { force: true });
    await syncFolder(this.folder);
  }

  private async names(): Promise<readonly string[]> {
    const names = await readdir(this.folder).catch((thrown: unknown) => {
      if (errnoOf(thrown) === 'ENOENT') return [];
      throw thrown;
    });
    return names.filter((name) => name.endsWith(suffix)).sort();
  }

  private async read(file: string): Promise<Acceptance | undefined> {
    try {
      const text = await readBounded(join(this.folder, file), limits.maxAcceptanceBytes);
      return text === undefined ? undefined : acceptanceFile.parse(JSON.parse(text));
    } catch (thrown) {
      const isAway = ['ENOENT', 'EACCES', 'ELOOP', 'ENXIO'].includes(errnoOf(thrown) ?? '');
      if (isAway || thrown instanceof SyntaxError || thrown instanceof z.ZodError) return undefined;
      throw thrown;
    }
  }

  private get folder(): string {
    return join(this.dataDir, 'accepted.inbox');
  }
}

const suffix = '.json';
