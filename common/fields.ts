import { z } from 'zod';
import { limits } from './limits.ts';

/**
 * Field shapes shared by every schema. All of them are bounded: what passes here also fits the database's types and
 * index rows, so no entry of a hostile node can be valid and yet impossible to store.
 */

/** 32 bytes in lower-case hex. */
export const hex64 = z.string().regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits');

/** RFC 3339 UTC with milliseconds, from 1970 on (PostgreSQL has no year 0). */
export const timestamp = z.iso.datetime({ precision: 3 }).refine((text) => text >= '1970', 'a time from 1970 on');

export const count = z.int().nonnegative();

/** Text whose origin we do not control, cut with {@link clip} before it gets here. */
export const foreignText = z.string().max(limits.maxForeignTextChars);

/** Text of our own making: reasons, notes, versions. */
export const ownText = z.string().max(limits.maxOwnTextChars);

/** Node names: a DNS label, so that they are safe in paths, metrics and note names. */
export const nodeName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'lower-case letters, digits and hyphens');

/** Cuts foreign text to what {@link foreignText} admits, with a mark where something is missing. */
export function clip(text: string): string {
  const whole = text.toWellFormed();
  if (whole.length <= limits.maxForeignTextChars) return whole;
  return `${whole.slice(0, limits.maxForeignTextChars - 1).toWellFormed()}…`;
}
