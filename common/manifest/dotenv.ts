import { isPlainName, isSecretName } from '../secrets.ts';
import { interpolate } from './interpolation.ts';
import { misspelled, type Spelled, spelled } from './spelling.ts';

/** What the file sets, or the first mistake in it; `line` and `column` are counted from 1. */
export type DotenvReading =
  | { readonly ok: true; readonly variables: ReadonlyMap<string, string> }
  | { readonly ok: false; readonly line: number; readonly column: number; readonly reason: string };

/** Escapes in double quotes; any other backslash stays. */
const escapes: ReadonlyMap<string, string> = new Map([
  ...[['n', '\n'] as const, ['r', '\r'] as const, ['t', '\t'] as const, ['a', '\x07'] as const, ['b', '\b'] as const],
  ...[['f', '\f'] as const, ['v', '\v'] as const, ['"', '"'] as const, ['\\', '\\'] as const, ['$', '$$'] as const],
]);

/**
 * The variables of a `.env` or `env_file` text: `NAME=value` or `NAME: value` on a line, `export` in front, comments with `#`, values in
 * single quotes as they stand, in double quotes with escapes, both over several lines; variables in what is not in single
 * quotes are the `known` ones, then those set before in the file. A bare `NAME` is the
 * `known` one; else a mistake, since only a shell says its value.
 * Never throws. Source: Docker's page on the `.env` file syntax.
 */
export function readDotenv(text: string, known: ReadonlyMap<string, string>): DotenvReading {
  const source = text.startsWith('\ufeff') ? text.slice(1) : text;
  const variables = new Map<string, string>();
  const blank = /(?:\s+|#[^\n]*)*/y;
  const name = /(?:export[ \t]+)?([\p{L}\p{N}_.[\]-]+)[ \t]*([=:]?)[ \t]*/uy;
  const restOfLine = /[^\n]*/y;
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(source);
    if (found !== null) at = pattern.lastIndex;
    return found;
  };
  for (take(blank); at < source.length; take(blank)) {
    const start = at;
    const wrong = (reason: string): DotenvReading => ({ ok: false, ...lineAndColumn(source, start), reason });
    const [, key = '', sign = ''] = take(name) ?? [];
    if (key === '') return wrong('NAME=value');
    if (sign === '') {
      if (!/^\s*(#|$)/.test(take(restOfLine)?.[0] ?? '')) return wrong('NAME=value');
      const value = known.get(key);
      if (value === undefined) {
        const what = isPlainName(key) ? key : 'a name';
        return wrong(`${what} has no value: it would come from a shell, and git does not say it`);
      }
      variables.set(key, value);
      continue;
    }
    const quoted = readQuoted(source, at);
    if (quoted !== undefined && !quoted.ok) return wrong(quoted.reason);
    let written: string;
    if (quoted !== undefined) {
      written = quoted.value.text;
      at = quoted.value.end;
      if (!/^[ \t\r]*(#.*)?$/.test(take(restOfLine)?.[0] ?? '')) return wrong('nothing but a comment after the quotes');
    } else written = (take(restOfLine)?.[0] ?? '').split(' #', 1)[0]?.trimEnd() ?? '';
    const isLiteral = quoted?.ok === true && quoted.value.quote === "'";
    const value = isLiteral
      ? spelled(written)
      : interpolate(written, (other) => known.get(other) ?? variables.get(other));
    if (!value.ok) return wrong(isSecretName(key) ? `${key}: a value that git says` : `${key}: ${value.reason}`);
    // Compose passes over names that begin with a digit.
    if (!/^\d/.test(key)) variables.set(key, value.value);
  }
  return { ok: true, variables };
}

interface Quoted {
  readonly quote: string;
  readonly text: string;
  /** Index behind the closing quote. */
  readonly end: number;
}

/** The quoted value that begins at `start`, or undefined when none does. */
function readQuoted(source: string, start: number): Spelled<Quoted> | undefined {
  const quote = source[start];
  if (quote !== '"' && quote !== "'") return undefined;
  let text = '';
  for (let at = start + 1; at < source.length; at++) {
    const character = source[at] ?? '';
    if (character === quote) return spelled({ quote, text, end: at + 1 });
    if (character !== '\\') text += character;
    else {
      const next = source[++at] ?? '';
      const meant = quote === '"' ? escapes.get(next) : next === quote ? quote : undefined;
      text += meant ?? `\\${next}`;
    }
  }
  return misspelled(`a closing ${quote}`);
}

function lineAndColumn(text: string, at: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, at).split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}
