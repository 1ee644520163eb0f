/*
 * Foreign text on its way to a terminal: names, messages and files may hold what moves its cursor, clears it, reorders what
 * stands there, or ends a line and begins one that looks like ours.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is looked for
const unsafe = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above, but for the ends of lines
const unsafeInLines = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

const replacement = '\ufffd';

/** `text` as part of one line that does nothing but stand there. */
export function printable(text: string): string {
  return text.toWellFormed().replace(unsafe, replacement);
}

/** As {@link printable}, with its lines; for text of ours whose foreign parts went through {@link printable}, or have one line. */
export function printableLines(text: string): string {
  return text.toWellFormed().replace(unsafeInLines, replacement);
}

/** A line of JSON, newline included: the same value for programs, and harmless where people read it. */
export function printableJson(value: unknown): string {
  const escaped = JSON.stringify(value).replace(unsafe, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
  return `${escaped}\n`;
}
