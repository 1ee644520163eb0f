import { limits } from '../../common/limits.ts';
import type { FileWindow } from './file-window.ts';
import { SnappyDecoder } from './snappy.ts';
import type { StoreFile } from './store-files.ts';
import {
  type BlockHandle,
  blockIntact,
  type Footer,
  footerBytes,
  isMalformed,
  parseFooter,
  trailerBytes,
} from './table-format.ts';

/** Something wrong at one place of a table file. */
export interface TableProblem {
  readonly check: 'block_checksum' | 'block_format' | 'table_format';
  readonly offset: number;
  readonly problem: string;
}

const uncompressed = 0;
const snappy = 1;

/** Reads footer and blocks of one open table at a time; a block that looks wrong is read from the file a second time. */
export class TableReader {
  private readonly window: FileWindow;
  private readonly decoder = new SnappyDecoder(limits.sigilMaxBlockBytes);
  private fileBytes = 0;

  constructor(window: FileWindow) {
    this.window = window;
  }

  /** @throws AppError `store.unreadable` */
  async open(file: StoreFile): Promise<Footer | TableProblem> {
    this.window.use(file);
    this.fileBytes = file.bytes;
    const offset = Math.max(0, file.bytes - footerBytes);
    const footer = parseFooter(await this.window.bytes(offset, footerBytes), file.bytes);
    return isMalformed(footer) ? { check: 'table_format', offset, problem: footer.problem } : footer;
  }

  /**
   * The content of the block, uncompressed, as a view that lives until the next call.
   * @throws AppError `store.unreadable`
   */
  async block(handle: BlockHandle): Promise<Buffer | TableProblem> {
    const stored = await this.intact(handle);
    return isProblem(stored) ? stored : this.content(stored, handle);
  }

  /** The same at once for a good block that is in memory already, as most are that stand behind one another; null for others. */
  blockAtHand(handle: BlockHandle): Buffer | TableProblem | null {
    const stored = this.window.held(handle.offset, handle.size + trailerBytes);
    return stored !== null && blockIntact(stored) ? this.content(stored, handle) : null;
  }

  private content(stored: Buffer, { offset, size }: BlockHandle): Buffer | TableProblem {
    const type = stored[size] ?? -1;
    const content = stored.subarray(0, size);
    if (type === uncompressed) return content;
    if (type !== snappy) return { check: 'block_format', offset, problem: `compression type ${type} is unknown` };
    const plain = this.decoder.decode(content);
    return plain ?? { check: 'block_format', offset, problem: 'the compressed block is malformed or too large' };
  }

  /** The block as it stands in the file, with its trailer, once its CRC has been found right. */
  async intact(handle: BlockHandle): Promise<Buffer | TableProblem> {
    const { offset, size } = handle;
    if (size > limits.sigilMaxBlockBytes) {
      return { check: 'block_format', offset, problem: `a block of ${size} bytes is too large to be checked` };
    }
    const wanted = size + trailerBytes;
    const first = await this.window.bytes(offset, wanted);
    if (first.length === wanted && blockIntact(first)) return first;
    this.window.forget();
    const second = await this.window.bytes(offset, wanted);
    if (second.length === wanted && blockIntact(second)) return second;
    return { check: 'block_checksum', offset, problem: `the block of ${size} bytes does not match its CRC-32C` };
  }

  /** Size of the file that is open, in bytes. */
  get bytes(): number {
    return this.fileBytes;
  }
}

export function isProblem(value: object): value is TableProblem {
  return 'problem' in value;
}
