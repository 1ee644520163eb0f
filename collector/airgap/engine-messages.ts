import { z } from 'zod';
import { errorCodes } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

/*
 * What a command and the process that asks the engine for it say to each other. One request after another: `idOf` is answered by an id,
 * `save` by pieces, each of which waits for `more`, and an end; either by an error.
 */

const reference = z.string().max(limits.maxForeignTextChars);

export const engineRequest = z.union([
  z.strictObject({ idOf: reference }),
  z.strictObject({ save: reference }),
  /** False: no more pieces are wanted. */
  z.strictObject({ more: z.boolean() }),
]);
export type EngineRequest = z.infer<typeof engineRequest>;

export const engineAnswer = z.union([
  z.strictObject({ id: z.string() }),
  z.strictObject({ piece: z.custom<Uint8Array>((value) => value instanceof Uint8Array) }),
  z.strictObject({ ended: z.literal(true) }),
  z.strictObject({ code: z.enum(errorCodes), message: z.string() }),
]);
export type EngineAnswer = z.infer<typeof engineAnswer>;
