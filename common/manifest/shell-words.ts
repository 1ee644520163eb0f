import { misspelled, type Spelled, spelled } from './spelling.ts';

/** Characters that only a shell gives a meaning. */
const needsShell = new Set([';', '&', '|', '<', '>', '(', ')', '`']);

const space = new Set([' ', '\t', '\r', '\n']);

/** What a backslash before these letters stands for; before anything else it takes away its meaning. */
const escapes: ReadonlyMap<string, string> = new Map([
  ['t', '\t'],
  ['n', '\n'],
]);

/**
 * A command written as one text, as its arguments: split at white space outside quotes, quotes and backslashes taken away,
 * nothing expanded. Compose does the same, but quietly drops what follows an unquoted `;`, `&`, `|`, `<` or `>`; here that is
 * refused. Source: the Compose Specification, `command`.
 */
export function splitWords(text: string): Spelled<readonly string[]> {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  let escaped = false;
  for (const character of text) {
    if (escaped) {
      word = `${word ?? ''}${escapes.get(character) ?? character}`;
      escaped = false;
    } else if (character === '\\' && quote !== "'") {
      escaped = true;
    } else if (quote !== '') {
      if (character === quote) quote = '';
      else word = `${word ?? ''}${character}`;
    } else if (character === '"' || character === "'") {
      quote = character;
      word ??= '';
    } else if (space.has(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (needsShell.has(character)) {
      return misspelled(`no shell reads this: quote "${character}", or write ["sh", "-c", "..."]`);
    } else word = `${word ?? ''}${character}`;
  }
  if (quote !== '') return misspelled(`a closing ${quote}`);
  if (escaped) return misspelled('a character after the last backslash');
  if (word !== undefined) words.push(word);
  return spelled(words);
}
