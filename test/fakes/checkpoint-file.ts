import type {
  CheckpointFile,
  Contradiction,
  EvidenceFolder,
  KeptCheckpoint,
} from '../../collector/ledger/checkpoint-file.ts';
import { parseCheckpoint } from '../../common/checkpoint.ts';
import { AppError } from '../../common/errors.ts';
import { parseNote } from '../../common/note.ts';

export interface FakeDiskOptions {
  /** Passes before an effect, and between the effect and its answer. */
  readonly pause?: () => Promise<void>;
}

/** The data directory in memory: one checkpoint file, and evidence, which is always synced. Outlives the processes that use it. */
export class FakeDisk {
  /** What the file holds now, and what a power cut would leave of it. */
  note: string | undefined;
  synced: string | undefined;
  readonly contradictions: Contradiction[] = [];
  /** What goes wrong with the next writes: nothing is written, or it is and nobody hears of it. */
  faults: ('failed' | 'reply lost')[] = [];
  writes = 0;
  readonly #pause: () => Promise<void>;

  constructor({ pause }: FakeDiskOptions = {}) {
    this.#pause = pause ?? (() => Promise.resolve());
  }

  /** What is written more than a second ago is on the disk. */
  sync(): void {
    this.synced = this.note;
  }

  powerCut(): void {
    this.note = this.synced;
  }

  lose(): void {
    this.note = undefined;
    this.synced = undefined;
  }

  /** The file as one process has it open. */
  open(): OpenFakeDisk {
    return new OpenFakeDisk(this, this.#pause);
  }
}

export class OpenFakeDisk implements CheckpointFile {
  readonly path = '/data/checkpoint';
  readonly evidence: EvidenceFolder;
  readonly #disk: FakeDisk;
  readonly #pause: () => Promise<void>;
  #alive = true;
  #written: KeptCheckpoint | undefined;

  constructor(disk: FakeDisk, pause: () => Promise<void>) {
    this.#disk = disk;
    this.#pause = pause;
    this.evidence = {
      path: '/data/evidence',
      keep: async (contradiction) => {
        await pause();
        if (this.#alive) disk.contradictions.push(contradiction);
        return '/data/evidence/1-contradiction.json';
      },
      notes: async () => disk.contradictions.flatMap(({ notes }) => notes),
    };
  }

  /** The process was killed: whatever it was going to write is not written. */
  kill(): void {
    this.#alive = false;
  }

  async read(): Promise<string | undefined> {
    await this.#pause();
    return this.#disk.note;
  }

  /** What a second does: the larger of two trees that were written at once is put back. */
  settle(): void {
    if (this.#alive && this.#written !== undefined && sizeOf(this.#disk.note) < this.#written.size)
      this.#disk.note = this.#written.note;
  }

  async write(checkpoint: KeptCheckpoint): Promise<void> {
    const { note } = checkpoint;
    await this.#pause();
    const fault = this.#disk.faults.shift();
    if (this.#alive && fault !== 'failed') {
      this.#disk.note = note;
      this.#disk.writes += 1;
      this.#written = checkpoint;
    }
    await this.#pause();
    if (fault === undefined) return;
    throw new AppError('ledger.checkpoint_file', 'the disk refuses', { retryable: true });
  }

  async close(): Promise<void> {
    this.#disk.sync();
  }
}

function sizeOf(note: string | undefined): number {
  return note === undefined ? -1 : parseCheckpoint(parseNote(note).text).size;
}
