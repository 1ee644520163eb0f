import type { LastGood, ReportedFinding } from './integrity-report.ts';
import { limits } from './limits.ts';
import { shellWord } from './shell-word.ts';

/**
 * The command that writes the last good copy of the record out, ready for a shell; null when there is none. Where the agent takes its
 * settings from is for whoever runs it to say.
 */
export function restoreCommand(store: string, { id, key, lastGood }: ReportedFinding): string | null {
  return lastGood == null || key === null ? null : commandFor(store, key, lastGood, id.slice(0, 8));
}

/** The same for one of the records in a bad place, by its number there. */
export function restoreCommandInPlace(store: string, { id, records }: ReportedFinding, nth: number): string | null {
  const { key, lastGood } = records?.keys[nth] ?? { key: '', lastGood: null };
  return lastGood === null ? null : commandFor(store, key, lastGood, `${id.slice(0, 8)}-${nth + 1}`);
}

function commandFor(store: string, key: string, lastGood: LastGood, name: string): string | null {
  if (key.length >= limits.maxForeignTextChars) return null;
  const options: [string, string][] = [
    ['store', store],
    ['key', key],
    ['from', lastGood.snapshot],
    ['to', `restored-${name}.json`],
  ];
  // With an equals sign: a key may begin with a hyphen.
  const words = options.map(([name, value]) => `--${name}=${shellWord(value)}`);
  return ['sigilwatch-agent integrity restore', ...words].join(' ');
}
