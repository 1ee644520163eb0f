import { Document, isCollection, isScalar, visit } from 'yaml';

/** A value on its way into a YAML file. */
export type Written = string | number | boolean | readonly Written[] | ReadonlyMap<string, Written>;

/** Words and numbers of a program, which read better in one line. */
const inOneLine: ReadonlySet<unknown> = new Set(['command', 'entrypoint', 'cap_add', 'cap_drop']);

/**
 * A value as YAML, without a newline at the end. Every reader gets the same out of it, be it one of YAML 1.1, where `no`, `0755`, `12:30`
 * and `1_000` are no texts: whatever could be read otherwise stands in double quotes, on one line.
 */
export function yamlText(value: Written, form: 'block' | 'flow'): string {
  const document = new Document(value, { aliasDuplicateObjects: false });
  visit(document, {
    Scalar: (_, scalar) => {
      if (typeof scalar.value === 'string' && !isPlain(scalar.value)) scalar.type = 'QUOTE_DOUBLE';
    },
    Collection: (_, collection) => {
      if (form === 'flow') collection.flow = true;
    },
    Pair: (_, { key, value }) => {
      if (isScalar(key) && inOneLine.has(key.value) && isCollection(value)) value.flow = true;
    },
  });
  const text = document.toString({ lineWidth: 0, doubleQuotedAsJSON: true, flowCollectionPadding: false });
  return text.trimEnd().replace(invisible, escaped);
}

/** Text that means itself without quotes, anywhere in any YAML file. */
function isPlain(text: string): boolean {
  return /^[A-Za-z_/][\w/.@:+=-]*$/.test(text) && !text.endsWith(':') && !otherWords.test(text);
}

/** What YAML 1.1 takes for booleans, and all for nothing. */
const otherWords = /^(y|n|yes|no|on|off|true|false|null)$/i;

/** Some readers take these for ends of lines, and nobody sees them; JSON leaves them as they are. They stand in quotes only. */
const invisible = /[\u007f-\u00a0\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
