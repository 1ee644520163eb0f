import { readdirSync, readFileSync } from 'node:fs';
import type { z } from 'zod';

const root = new URL('../vectors/', import.meta.url);

/** The published vectors of one folder under `test/vectors/`; a file's name is its case. */
export function loadVectors<T extends z.ZodType>(folder: string, schema: T): { name: string; vector: z.infer<T> }[] {
  const directory = new URL(`${folder}/`, root);
  return readdirSync(directory).map((file) => ({
    name: file.replace(/\.json$/, ''),
    vector: schema.parse(JSON.parse(readFileSync(new URL(file, directory), 'utf8'))),
  }));
}
