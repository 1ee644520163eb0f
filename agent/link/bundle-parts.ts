import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { CollectorMessage, MessageOf } from '../../common/protocol.ts';

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
  /** All of its room at once: kept one by one, parts of a byte each would take a hundred times what they bring. */
  let begun: { readonly commit: string; readonly whole: Buffer; bytes: number } | undefined;
  return {
    take: ({ commit, sizeBytes, offset, bundle }) => {
      if (sizeBytes > limits.maxOfferedBundleBytes) {
        throw new AppError(
          'validation.too_large',
          `a bundle of ${sizeBytes} bytes, of ${limits.maxOfferedBundleBytes} at most`,
        );
      }
      if (offset === 0) begun = { commit, whole: Buffer.alloc(sizeBytes), bytes: 0 };
      const goesOn = begun?.commit === commit && begun.whole.length === sizeBytes && begun.bytes === offset;
      const part = Buffer.from(bundle, 'base64');
      if (begun === undefined || !goesOn || offset + part.length > sizeBytes || (part.length === 0 && sizeBytes > 0)) {
        begun = undefined;
        throw new AppError('validation.protocol', `a part of a bundle at ${offset} that continues nothing`);
      }
      begun.bytes += part.copy(begun.whole, offset);
      if (begun.bytes < sizeBytes) return undefined;
      const bytes = begun.whole;
      begun = undefined;
      return { commit, bytes };
    },
  };
}
