import { z } from 'zod';

/** As the catalogue has it: PostgreSQL folds a name to lower case unless it was quoted when it was made. */
const name = z.string().min(1).max(63);

const tablePlace = z
  .strictObject({
    url: z.string().min(1).meta({ secret: true, description: 'of a role that can only read' }).optional(),
    urlFile: z.string().min(1).optional().describe('a file that holds the url; read anew for each connection'),
    table: z.string().refine((text) => /^[^.]{1,63}\.[^.]{1,63}$/.test(text), 'schema.name'),
    columns: z.strictObject({
      id: name.optional(),
      tenant: name.optional(),
      symbol: name,
      authHash: name,
      record: name,
      checksum: name.optional(),
      signature: name.optional(),
      updatedAt: name.optional(),
    }),
  })
  .refine(({ url, urlFile }) => (url === undefined) !== (urlFile === undefined), 'either url or urlFile');

/** What the URL of a database begins with, which in place of a folder is a mistake, and perhaps a secret. */
const urlOfDatabase = /^postgres(ql)?:/i;

/** Where a sigil store is: the folder of a LevelDB store, or a table of a PostgreSQL database. */
export const storePlace = z.union([
  z
    .string()
    .min(1)
    .refine((path) => !urlOfDatabase.test(path), 'the path of a folder; a table is {postgres: {url, table, columns}}'),
  z.strictObject({ postgres: tablePlace }),
]);

export type StorePlace = z.output<typeof storePlace>;
/** A table that is a sigil store, with the columns that hold what a key and a record hold elsewhere. */
export type TablePlace = z.output<typeof tablePlace>;

/** What a person calls it; without anything secret. */
export function shownPlace(place: StorePlace): string {
  return typeof place === 'string' ? place : `table ${place.postgres.table}`;
}
