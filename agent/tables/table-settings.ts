import { z } from 'zod';

/** As the catalogue has them: PostgreSQL folds names to lower case unless they were quoted when they were made. */
const name = z.string().regex(/^[^\0]{1,63}$/, 'the name of a column');

const tablePlace = z
  .strictObject({
    url: z
      .string()
      .regex(/^postgres(ql)?:\/\//, 'postgres://role:password@host:port/database')
      .meta({ secret: true, description: 'of a role that can only read' })
      .optional(),
    urlFile: z.string().min(1).optional().describe('a file that holds the url; read anew for each connection'),
    table: z.string().regex(/^[^.\0]{1,63}\.[^.\0]{1,63}$/, 'schema.name'),
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

/** Where a sigil store is: the folder of a LevelDB store, or a table of a PostgreSQL database. */
export const storePlace = z.union([
  z.string().regex(/^(?!postgres(ql)?:)./, 'a folder, or {postgres: {...}}'),
  z.strictObject({ postgres: tablePlace }),
]);

export type StorePlace = z.output<typeof storePlace>;
/** A table that is a sigil store, with the columns that hold what a key and a record hold elsewhere. */
export type TablePlace = z.output<typeof tablePlace>;

/** What a person calls it; without anything secret. */
export function shownPlace(place: StorePlace): string {
  return typeof place === 'string' ? place : `table ${place.postgres.table}`;
}
