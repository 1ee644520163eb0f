import type { ReportedFinding } from './integrity-report.ts';
import { limits } from './limits.ts';

/**
 * The command that writes the last good copy of the record out, ready for a shell; null when there is none. Where the agent takes its
 * settings from is for whoever runs it to say.
 */
export function restoreCommand(store: string, { id, key, lastGood }: ReportedFinding): string | null {
  if (lastGood == null || key === null || key.length >= limits.maxForeignTextChars) return null;
  const options: [string, string][] = [
    ['store', store],
    ['key', key],
    ['from', lastGood.snapshot],
    ['to', `restored-${id.slice(0, 8)}.json`],
  ];
  // With an equals sign: a key may begin with a hyphen.
  const words = options.map(([name, value]) => `--${name}=${shellWord(value)}`);
  return ['sigilwatch-agent integrity restore', ...words].join(' ');
}

const plainWord = /^[A-Za-z0-9._/:@%+=,-]+$/;

/** One word to a POSIX shell, whatever is in it. */
export function shellWord(text: string): string {
  return plainWord.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
