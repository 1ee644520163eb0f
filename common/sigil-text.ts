import { isUtf8 } from 'node:buffer';
import { limits } from './limits.ts';

/**
 * Characters that would move a terminal's cursor, reorder text or end a line; spaces other than the plain one and what takes no room, which
 * nobody sees and which are changed or lost when text is copied; and the backslash that starts an escape.
 * Store keys and values are foreign text: they reach logs and consoles only through here.
 */
const unsafe =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is looked for
  /[\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\\]/g;
const nonAscii = /[\u0080-\u00ff]/g;

/** Bytes as printable text that {@link foreignBytes} can turn back: what is not UTF-8 or not printable becomes `\xNN`. */
export function foreignText(bytes: Uint8Array): string {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (isUtf8(view)) return view.toString('utf8').replace(unsafe, escapeCharacter);
  return view.toString('latin1').replace(unsafe, escapeByte).replace(nonAscii, escapeByte);
}

/** The bytes behind a {@link foreignText}, or null when the text was cut and the bytes cannot be known. */
export function foreignBytes(text: string): Buffer | null {
  if (text.length >= limits.maxForeignTextChars && text.endsWith(ellipsis)) return null;
  const parts = text
    .split(/(\\\\|\\x[0-9a-f]{2})/)
    .map((part) =>
      part === '\\\\'
        ? Buffer.from('\\')
        : part.startsWith('\\x')
          ? Buffer.from(part.slice(2), 'hex')
          : Buffer.from(part),
    );
  return Buffer.concat(parts);
}

/** `text` within `limits.maxForeignTextChars`, ending in an ellipsis when cut and never in half a surrogate pair. */
export function cutText(text: string): string {
  if (text.length <= limits.maxForeignTextChars) return text;
  return `${text.slice(0, limits.maxForeignTextChars - ellipsis.length).replace(/[\ud800-\udbff]$/, '')}${ellipsis}`;
}

/** Any value found in a record, redacted, printable and cut; strings are shown as they are, the rest as JSON. */
export function shownValue(value: unknown, redact: (text: string) => string): string {
  // Redacted before it is cut, or the cut could leave the first half of a secret standing.
  const text = redact(typeof value === 'string' ? value : jsonOf(value));
  return cutText(text.toWellFormed().replace(unsafe, escapeCharacter));
}

const ellipsis = '…';

function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? typeof value;
  } catch {
    // Nested deeper than the stack allows: its type is all that can be shown.
    return typeof value;
  }
}

function escapeCharacter(character: string): string {
  if (character === '\\') return '\\\\';
  return Buffer.from(character).toString('hex').replace(/../g, '\\x$&');
}

function escapeByte(character: string): string {
  if (character === '\\') return '\\\\';
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
