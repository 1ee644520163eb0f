import { type Refused, refused } from './refused.ts';

/** What the value of one parameter has to look like, decoded. */
export type QueryRule = RegExp | ((value: string) => boolean);

/** Decoded values by name. */
export type Query = Readonly<Record<string, string | undefined>>;

export interface ReadQuery {
  readonly values: Query;
  /** Written anew, with its question mark; empty for no parameters. */
  readonly text: string;
}

/** Nothing that two decoders could take for two things: no plus sign, no percent sign without two digits. */
const encoded = /^(?:[A-Za-z0-9._~:,*!'()/@-]|%[0-9A-Fa-f]{2})*$/;

/**
 * Reads the part of a target after its question mark. Each parameter must be one of `rules`, keep to it, and come once.
 * @param text undefined where there was no question mark
 */
export function readQuery(text: string | undefined, rules: Readonly<Record<string, QueryRule>>): ReadQuery | Refused {
  // Clients also write the question mark of a query that has nothing in it.
  if (text === undefined || text === '') return { values: {}, text: '' };
  const values = new Map<string, string>();
  for (const pair of text.split('&')) {
    const [name = '', raw, ...more] = pair.split('=');
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) return refused('request.query', 'a parameter that this call does not take');
    if (values.has(name)) return refused('request.query', `the parameter ${name} came twice`);
    const value = raw === undefined || more.length > 0 ? undefined : decode(raw);
    if (value === undefined || !(typeof rule === 'function' ? rule(value) : rule.test(value))) {
      return refused('request.query', `the parameter ${name} has a form that is not taken`);
    }
    values.set(name, value);
  }
  const written = [...values].map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
  return { values: Object.fromEntries(values), text: `?${written}` };
}

function decode(raw: string): string | undefined {
  if (!encoded.test(raw)) return undefined;
  try {
    const value = decodeURIComponent(raw);
    // Every rule is about text; a line feed would pass the end of a pattern that forgot about it.
    return /\p{Cc}/u.test(value) ? undefined : value;
  } catch {
    return undefined;
  }
}
