import { z } from 'zod';

/** What a look at the repository came to. A refused commit leaves `inForce` as it is; null for none at all. */
export type Look = { readonly outcome: 'adopted' | 'unchanged'; readonly commit: string } | RefusedLook;

export interface RefusedLook {
  readonly outcome: 'refused';
  /** Null when not even HEAD can be read. */
  readonly commit: string | null;
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  readonly column: number;
  readonly reason: string;
  readonly inForce: string | null;
}

/** The same as the API says it. */
export const shownLook = z.discriminatedUnion('outcome', [
  z.object({ outcome: z.enum(['adopted', 'unchanged']), commit: z.string() }),
  z.object({
    outcome: z.literal('refused'),
    commit: z.string().nullable(),
    ...{ file: z.string(), line: z.int(), column: z.int(), reason: z.string() },
    in_force: z.string().nullable(),
  }),
]);

export type ShownLook = z.infer<typeof shownLook>;

export function lookView(look: Look): ShownLook {
  if (look.outcome !== 'refused') return look;
  const { inForce, ...rest } = look;
  return { ...rest, in_force: inForce };
}
