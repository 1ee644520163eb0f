import { AppError } from '../common/errors.ts';
import { limits } from '../common/limits.ts';
import type { CollectorMessage, MessageOf } from '../common/protocol.ts';

type Part = MessageOf<CollectorMessage, 'desired'>;

/** A whole bundle, nothing of which is believed yet. */
export interface HandedBundle {
  readonly commit: string;
  readonly bytes: Buffer;
}

/** Puts bundles together that come in parts, in order. A part that begins one ends what was not complete. */
export interface BundleParts {
  /**
   * @returns the bundle with its last part.
   * @throws AppError `validation.protocol` for a part that does not go on where the one before ended; `validation.too_large`.
   */
  take(part: Part): HandedBundle | undefined;
}

export function createBundleParts(): BundleParts {
  let begun:
    | { readonly commit: string; readonly sizeBytes: number; readonly parts: Buffer[]; bytes: number }
    | undefined;
  return {
    take: ({ commit, sizeBytes, offset, bundle }) => {
      if (sizeBytes > limits.maxOfferedBundleBytes) {
        throw new AppError(
          'validation.too_large',
          `a bundle of ${sizeBytes} bytes, of ${limits.maxOfferedBundleBytes} at most`,
        );
      }
      if (offset === 0) begun = { commit, sizeBytes, parts: [], bytes: 0 };
      const goesOn = begun?.commit === commit && begun.sizeBytes === sizeBytes && begun.bytes === offset;
      const part = Buffer.from(bundle, 'base64');
      if (begun === undefined || !goesOn || offset + part.length > sizeBytes || (part.length === 0 && sizeBytes > 0)) {
        begun = undefined;
        throw new AppError('validation.protocol', `a part of a bundle at ${offset} that continues nothing`);
      }
      begun.parts.push(part);
      begun.bytes += part.length;
      if (begun.bytes < sizeBytes) return undefined;
      const bytes = Buffer.concat(begun.parts);
      begun = undefined;
      return { commit, bytes };
    },
  };
}
