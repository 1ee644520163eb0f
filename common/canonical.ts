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
