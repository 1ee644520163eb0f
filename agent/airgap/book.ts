import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { errnoOf } from '../../common/errors.ts';
import { hex64 } from '../../common/fields.ts';
import { writeDurably } from '../data/durable-file.ts';

const number = z.int().positive();

const schema = z.strictObject({
  v: z.literal(1),
  /** The one that was begun last, if it is not known to be complete. */
  begun: number.nullable(),
  /** The last one that was completed, by the SHA-256 of its manifest. */
  last: z.strictObject({ number, sha256: hex64 }).nullable(),
});

/** Which bundles this node has made. */
export type ExportBook = Readonly<z.infer<typeof schema>>;

const empty: ExportBook = { v: 1, begun: null, last: null };

/** What cannot be read counts as nothing: numbers begin again, which an import does not go by. */
export async function readBook(dataDir: string): Promise<ExportBook> {
  try {
    return schema.parse(JSON.parse(await readFile(pathOf(dataDir), 'utf8')));
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT' || thrown instanceof SyntaxError || thrown instanceof z.ZodError) return empty;
    throw thrown;
  }
}

/** Resolved means on disk. */
export async function writeBook(dataDir: string, book: ExportBook): Promise<void> {
  await writeDurably(pathOf(dataDir), `${JSON.stringify(book)}\n`);
}

function pathOf(dataDir: string): string {
  return join(dataDir, 'air-gap.json');
}
