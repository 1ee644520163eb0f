import { once } from 'node:events';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { SigilChecker } from '../../common/sigil.ts';
import { systemClock } from '../clock.ts';
import { FileWindow } from './file-window.ts';
import { fsStoreFiles } from './fs-store-files.ts';
import { EntryArena } from './inventory/arena.ts';
import { Pacer } from './pacer.ts';
import { RecordSieve } from './record-sieve.ts';
import { TableReader } from './table-reader.ts';
import { TableScan, type TableSink } from './table-scan.ts';
import {
  asBuffer,
  type FoundProblem,
  type FromThread,
  type Part,
  type ThreadData,
  type ToThread,
} from './thread-messages.ts';
import type { LiveTable } from './version-edit.ts';

/** Checks tables for whoever made this thread, one after another. */
class ScanThread {
  private readonly port: MessagePort;
  private readonly files;
  private readonly sieve: RecordSieve;
  private readonly arena: EntryArena | null;
  private readonly scan: TableScan;
  private problems: FoundProblem[] = [];
  private counts = { blocks: 0, bytes: 0 };

  constructor(port: MessagePort, { path, secrets, versions }: ThreadData) {
    this.port = port;
    this.files = fsStoreFiles(path);
    this.arena = versions ? new EntryArena(limits.inventoryThreadArenaBytes) : null;
    this.sieve = new RecordSieve(new SigilChecker({ secrets }), this.arena);
    const { arena } = this;
    const sink: TableSink = {
      record: (record) => this.sieve.look(record),
      deletion: (record) => this.sieve.deletion(record.userKey(), record.sequence),
      get isFull() {
        return arena?.isFull ?? false;
      },
      relieve: () => this.handOver(),
      problem: (problem, range) => void this.problems.push({ problem, range }),
      blockDone: (storedBytes) => {
        this.counts.blocks++;
        this.counts.bytes += storedBytes;
        const found = Math.max(this.sieve.kept, this.problems.length);
        return found >= limits.sigilConfirmBatch ? this.handOver() : undefined;
      },
    };
    // Nothing else waits in this thread.
    const pacer = new Pacer(systemClock, async () => {}, undefined);
    this.scan = new TableScan(new TableReader(new FileWindow()), pacer, sink);
  }

  async table(name: string, table: LiveTable): Promise<FromThread> {
    try {
      const file = await this.files.open(name);
      if (file === null) return { kind: 'gone' };
      try {
        await this.scan.scan(file, table);
      } finally {
        await file.close();
      }
      return { kind: 'done', part: this.takePart(), fingerprint: file.fingerprint };
    } catch (thrown) {
      const { code, message } = toAppError(thrown);
      if (code !== 'store.unreadable') throw thrown;
      await this.handOver();
      return { kind: 'unreadable', message };
    }
  }

  private async handOver(): Promise<void> {
    const answered = once(this.port, 'message');
    this.say({ kind: 'part', part: this.takePart() });
    await answered;
  }

  private takePart(): Part {
    const { sieve, problems, counts } = this;
    const versions = this.arena?.takeBytes() ?? new Uint8Array();
    const counted = { ...counts, records: sieve.records, sigils: sieve.sigils };
    const part = { ...counted, suspects: sieve.take(), problems, versions };
    this.problems = [];
    this.counts = { blocks: 0, bytes: 0 };
    sieve.records = 0;
    sieve.sigils = 0;
    return part;
  }

  say(message: FromThread): void {
    this.port.postMessage(message);
  }
}

function received(table: LiveTable): LiveTable {
  const { bounds } = table;
  return { ...table, bounds: bounds && { smallest: asBuffer(bounds.smallest), largest: asBuffer(bounds.largest) } };
}

if (parentPort === null) throw new AppError('internal.error', 'this is a thread, not a program');
const thread = new ScanThread(parentPort, workerData);
let busy = false;
parentPort.on('message', async (message: ToThread) => {
  if (busy || message.kind !== 'table') return;
  busy = true;
  const answer = await thread.table(message.name, received(message.table));
  busy = false;
  thread.say(answer);
});
