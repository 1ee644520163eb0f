import { limits } from '../../common/limits.ts';
import { printable, printableLines } from '../../common/printable.ts';

/*
 * Text of an operator with names in braces where values go: `{state}`, and `{?node: on {node}}` for what stands only where there is a node.
 * Braces mean nothing else, so one that was forgotten is seen when the settings are read. Values are put in once and are never read again.
 */

interface Part<Name> {
  /** Left out where this has no value. */
  readonly when: Name | null;
  /** Of the operator; null for a value. */
  readonly text: string | null;
  readonly name: Name | null;
}

/** A template that was read, and asks for nothing but these names. */
export interface Template<Name extends string> {
  readonly parts: readonly Part<Name>[];
}

/** For each name what stands there; null where there is none. */
export type TemplateValues<Name extends string> = Readonly<Record<Name, string | null>>;

export type ReadTemplate<Name extends string> =
  | { readonly template: Template<Name>; readonly problem?: undefined }
  /** What would be right, and what is not. */
  | { readonly problem: string };

export interface TemplateForm<Name extends string> {
  readonly names: readonly Name[];
  /** Whether it may have more than one line. */
  readonly lines: boolean;
}

/** A group begins, a name, a brace that belongs to neither, text. */
const token = /\{\?(?<group>[^{}:]*):|\{(?<name>[^{}]*)\}|(?<brace>[{}])|(?<text>[^{}]+)/g;

/** Reads a template. What is white at its end, such as the last line end of a block in YAML, is no part of it. */
export function readTemplate<Name extends string>(whole: string, form: TemplateForm<Name>): ReadTemplate<Name> {
  const text = whole.trimEnd();
  const wanted = wantedOf(form);
  const wrong = (what: string) => ({ problem: `${wanted}; ${what}` });
  if (whole.length > limits.maxAlertTemplateChars) return wrong(`at most ${limits.maxAlertTemplateChars} characters`);
  if (text === '') return wrong('not a blank one');
  if (text !== (form.lines ? printableLines(text) : printable(text)))
    return wrong(`${form.lines ? '' : 'one line, '}no control characters`);
  return readParts(text, form.names, wrong);
}

function wantedOf({ names }: TemplateForm<string>): string {
  return `text with the placeholders ${names.map((name) => `{${name}}`).join(' ')}, and {?name:...} for what stands only with one`;
}

function readParts<Name extends string>(
  text: string,
  names: readonly Name[],
  wrong: (what: string) => { problem: string },
): ReadTemplate<Name> {
  const parts: Part<Name>[] = [];
  let when: Name | null = null;
  for (const { groups: { group, name, brace, text: plain } = {}, 0: found, index } of text.matchAll(token)) {
    if (plain !== undefined) parts.push({ when, text: plain, name: null });
    else if (brace === '{') return wrong(strayBrace(excerpt(text.slice(index))));
    else if (brace === '}' && when === null) return wrong('a } closes nothing');
    else if (brace === '}') when = null;
    else {
      const known: Name | undefined = names.find((one) => one === (group ?? name));
      if (known === undefined) return wrong(`${excerpt(found)} is none of them`);
      if (group === undefined) parts.push({ when, text: null, name: known });
      else if (when !== null) return wrong(`${found} stands inside of {?${when}:`);
      else when = known;
    }
  }
  return when === null ? { template: { parts } } : wrong(`{?${when}: is not closed`);
}

/** Whoever knows templates of another program writes two. */
function strayBrace(from: string): string {
  return from.startsWith('{{') ? `${from} has more than one brace` : `${from} is not closed`;
}

const maxExcerptChars = 40;

/** The beginning of what is wrong. */
function excerpt(text: string): string {
  return text.slice(0, maxExcerptChars);
}

/**
 * The template with its values, each one line that does nothing but stand there; lines that come out blank are left out. Not escaped for
 * anybody, of any length, and empty where there is nothing to say.
 */
export function fill<Name extends string>({ parts }: Template<Name>, values: TemplateValues<Name>): string {
  return parts
    .filter(({ when }) => when === null || values[when] !== null)
    .map(({ text, name }) => text ?? (name === null ? '' : inOneLine(values[name] ?? '')))
    .join('')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .join('\n');
}

function inOneLine(value: string): string {
  return printable(value.replace(/[\t\r\n]+/g, ' '));
}
