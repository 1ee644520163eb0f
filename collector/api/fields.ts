import { z } from 'zod';
import { rfc3339 } from '../../common/clock.ts';
import { limits } from '../../common/limits.ts';

/*
 * Parameters that several lists take.
 */

/** Texts to compare with columns; PostgreSQL has no U+0000. */
export const filterText = z
  .string()
  .min(1)
  .max(limits.maxForeignTextChars)
  .refine((text) => !text.includes('\0'), 'text without NUL');

const lastMs = Date.parse('9999-12-31T23:59:59.999Z');

/** Handed on in our own spelling: PostgreSQL is stricter with fractions and offsets than RFC 3339. */
export const filterTime = z.iso
  .datetime({ offset: true, error: 'an RFC 3339 time such as 2026-01-31T12:00:00Z' })
  .transform((text) => Date.parse(text))
  .refine((unixMs) => unixMs >= 0 && unixMs <= lastMs, 'a time from 1970 to 9999')
  .transform(rfc3339);

const pageSize = z
  .string()
  .regex(/^[0-9]{1,9}$/, 'a whole number')
  .transform(Number)
  .pipe(z.int().min(1).max(limits.pageSizeMax))
  .default(limits.pageSizeDefault)
  .describe('rows of a page');

/** Parameters every list takes, beside its filters. */
export const pageParameters = {
  limit: pageSize,
  cursor: z.string().max(2_048).optional().describe('next_cursor of the page before'),
};
