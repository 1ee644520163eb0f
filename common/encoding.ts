/** Length of a SHA-256 hash in bytes. */
export const hashBytes = 32;

/**
 * Bytes of a standard padded base64 text (RFC 4648 §4), or undefined. Only the one canonical spelling is accepted, so
 * two different texts never carry the same bytes; Node's own decoder skips what it does not understand.
 */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

/** As {@link decodeBase64}, for exactly one SHA-256 hash. */
export function decodeBase64Hash(text: string): Buffer | undefined {
  const bytes = decodeBase64(text);
  return bytes?.length === hashBytes ? bytes : undefined;
}

/** A decimal without sign or leading zeros, at most 2^53 - 1, or undefined. */
export function decodeDecimal(text: string): number | undefined {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
