import { misspelled, type Spelled, spelled } from './spelling.ts';

/** A value that is made of others may be far longer than what is written. */
const maxChars = 64 * 1024;
/** Defaults inside defaults. */
const maxDepth = 20;

/** What is known of a variable, by its name. */
export type LookUp = (name: string) => string | undefined;

const expectedDollar = 'write "$$" for a "$" that is meant as it stands';

/**
 * A text with its variables replaced: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, and `$$` for `$`. A variable
 * that is not known takes its default; without one the text has no value, since what the shell of whoever starts the
 * container holds is nothing git says. Source: the Compose Specification, "Interpolation".
 */
export function interpolate(text: string, lookUp: LookUp, depth = maxDepth): Spelled<string> {
  if (depth === 0) return misspelled('fewer defaults inside defaults');
  let result = '';
  let from = 0;
  for (let at = text.indexOf('$'); at !== -1; at = text.indexOf('$', from)) {
    result += text.slice(from, at);
    if (result.length > maxChars) return misspelled(`at most ${maxChars} characters`);
    const [plain] = /^[A-Za-z_][A-Za-z0-9_]*/.exec(text.slice(at + 1, at + 300)) ?? [];
    if (text[at + 1] === '$') {
      result += '$';
      from = at + 2;
    } else if (text[at + 1] === '{') {
      const end = closingBrace(text, at);
      if (end === -1) return misspelled(`a closing brace for "\${"; ${expectedDollar}`);
      const value = braced(text.slice(at + 2, end), lookUp, depth);
      if (!value.ok) return value;
      result += value.value;
      from = end + 1;
    } else if (plain !== undefined) {
      const value = lookUp(plain);
      if (value === undefined) return unknownVariable(plain);
      result += value;
      from = at + 1 + plain.length;
    } else return misspelled(expectedDollar);
  }
  result += text.slice(from);
  return result.length > maxChars ? misspelled(`at most ${maxChars} characters`) : spelled(result);
}

function unknownVariable(name: string) {
  return misspelled(
    `git does not say the value of ${name}; give it a default as \${${name}:-value}, or ${expectedDollar}`,
  );
}

/** Index of the brace that ends the `${` at `at`, or -1. */
function closingBrace(text: string, at: number): number {
  let open = 0;
  for (let i = at; i < text.length; i++) {
    if (text.startsWith('${', i)) {
      open++;
      i++;
    } else if (text[i] === '}' && --open === 0) return i;
  }
  return -1;
}

function braced(inside: string, lookUp: LookUp, depth: number): Spelled<string> {
  const parts = /^([A-Za-z_][A-Za-z0-9_]*)(?:(:?)([-?+])([\s\S]*))?$/.exec(inside);
  if (parts === null) return misspelled(`a variable's name, perhaps with a default, inside "\${}"; ${expectedDollar}`);
  const [, name = '', colon, operator, operand = ''] = parts;
  const known = lookUp(name);
  // With a colon an empty value is as good as none.
  const value = colon === ':' && known === '' ? undefined : known;
  if (operator === '-' && value === undefined) return interpolate(operand, lookUp, depth - 1);
  if (operator === '+' && value !== undefined) return interpolate(operand, lookUp, depth - 1);
  if (operator === '+' && known !== undefined) return spelled('');
  return value === undefined ? unknownVariable(name) : spelled(value);
}
