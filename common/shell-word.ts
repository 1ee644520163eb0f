const plainWord = /^[A-Za-z0-9._/:@%+=,-]+$/;

/** One word to a POSIX shell, whatever is in it. */
export function shellWord(text: string): string {
  return plainWord.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
