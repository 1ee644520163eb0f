import canonicalize from 'canonicalize';
import { AppError } from './errors.ts';

/** A value JSON can carry without loss. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/**
 * RFC 8785 (JSON Canonicalization Scheme) text of `value`: one byte form for one meaning, so it can be hashed and signed.
 * @throws AppError `validation.entry` for what RFC 8785 cannot represent (NaN, Infinity, lone surrogates, undefined).
 */
export function canonicalText(value: JsonValue): string {
  let text: string | undefined;
  try {
    text = canonicalize(value);
  } catch (cause) {
    throw new AppError('validation.entry', 'value has no canonical JSON form', { cause });
  }
  // A lone surrogate survives JSON but not UTF-8, so two different values would share one byte form.
  if (text === undefined || !text.isWellFormed()) {
    throw new AppError('validation.entry', 'value has no canonical JSON form');
  }
  return text;
}

/** UTF-8 bytes of {@link canonicalText}. */
export function canonicalBytes(value: JsonValue): Buffer {
  return Buffer.from(canonicalText(value), 'utf8');
}

/**
 * True only if `text`, which `value` was parsed from, is {@link canonicalText} of it; false says nothing. Far cheaper than
 * making the canonical text: JSON.stringify writes numbers and strings as RFC 8785 wants them (it was defined that way
 * round) and leaves out all white space, so a text that it gives back unchanged can only differ in the order of
 * members, or by what is in `delicate`.
 */
export function isPlainlyCanonical(text: string, value: JsonValue): boolean {
  return !delicate.test(text) && JSON.stringify(value) === text && membersInOrder(value);
}

/**
 * Escaped lone surrogates, which RFC 8785 refuses; the mark of bytes that were no UTF-8; and the one name that JavaScript
 * may take for something else than a member.
 */
const delicate = /\\ud|\ufffd|__proto__/i;

/** By UTF-16 code units (RFC 8785 §3.2.3), which is how JavaScript compares strings. */
function membersInOrder(value: JsonValue): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (isList(value)) return value.every(membersInOrder);
  let before: string | undefined;
  for (const name of Object.keys(value)) {
    const member = value[name];
    if ((before !== undefined && before >= name) || member === undefined || !membersInOrder(member)) return false;
    before = name;
  }
  return true;
}

function isList(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}
