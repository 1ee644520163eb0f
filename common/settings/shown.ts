import { secretMask } from './schema.ts';

const maxShownChars = 120;

/** A value for an error message: JSON, cut to a readable length. Secrets must have been masked before. */
export function shown(value: unknown): string | undefined {
  return value === undefined ? undefined : cut(JSON.stringify(value) ?? String(value));
}

/**
 * The value of a key nobody knows. A mistyped secret is still a secret, so it is masked when the key it resembles is
 * one, when its own name sounds like one, or when it carries credentials in a URL.
 */
export function shownForeign(name: string, value: unknown, resemblesSecret: boolean): string | undefined {
  if (value === undefined) return undefined;
  const text = JSON.stringify(value) ?? String(value);
  const suspicious =
    resemblesSecret || /pass|secret|token|key|credential|auth/i.test(name) || /:\/\/[^/\s]*@/.test(text);
  return suspicious ? JSON.stringify(secretMask) : cut(text);
}

function cut(text: string): string {
  return text.length <= maxShownChars ? text : `${text.slice(0, maxShownChars)}...`;
}
