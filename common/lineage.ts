import { z } from 'zod';
import { canonicalText, type JsonValue } from './canonical.ts';
import { limits } from './limits.ts';

/*
 * Where an artifact comes from, in the words of whoever built it: any JSON object within bounds. Some members are understood here;
 * the others are kept as they are.
 */

export type Lineage = { readonly [name: string]: JsonValue };

/** What a signature is said to be. That it was verified is the word of whoever registered the artifact. */
export const signatureStates = ['none', 'present', 'verified'] as const;
export type SignatureState = (typeof signatureStates)[number];

/** What is understood of a lineage; null where it is missing or of another form. */
export interface LineageFacts {
  readonly name: string | null;
  /** Reference the image goes by. */
  readonly image: string | null;
  /** `sha256:<64 hex>`, as engines say it. */
  readonly imageId: string | null;
  /** Of the source. */
  readonly commit: string | null;
  readonly builder: string | null;
  /** Artifacts it was made of, as 64 hex digits; null where nothing is said, which is another thing than none. */
  readonly parents: readonly string[] | null;
  readonly signature: SignatureState;
}

/** In texts of people nothing but tab and line feed is needed; U+0000 could not even be stored as text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is looked for
const control = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;
/** JavaScript may take these for something else than a member. */
const refusedNames = new Set(['__proto__', 'constructor', 'prototype']);

/**
 * Why something cannot be a lineage; undefined when it can. Never deeper into a value than is allowed, whatever is in it.
 */
export function lineageProblem(value: unknown): string | undefined {
  if (!isObject(value)) return 'not a JSON object';
  const counted = { values: 0 };
  const problem = problemIn(value, 1, counted);
  if (problem !== undefined) return problem;
  const bytes = Buffer.byteLength(JSON.stringify(value));
  return bytes > limits.maxLineageBytes ? `over ${limits.maxLineageBytes} bytes of JSON` : undefined;
}

function problemIn(value: unknown, depth: number, counted: { values: number }): string | undefined {
  counted.values += 1;
  if (counted.values > limits.maxLineageValues) return `more than ${limits.maxLineageValues} values`;
  if (value === null || typeof value === 'boolean') return undefined;
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : 'a number that JSON cannot hold';
  if (typeof value === 'string') return problemInText(value);
  if (depth > limits.maxLineageDepth) return `deeper than ${limits.maxLineageDepth} levels`;
  if (Array.isArray(value)) return firstProblem(value, (item) => problemIn(item, depth + 1, counted));
  if (!isObject(value)) return 'something that is no JSON';
  return firstProblem(Object.keys(value), (name) => {
    if (refusedNames.has(name)) return `a member named ${name}`;
    return problemInText(name) ?? problemIn(value[name], depth + 1, counted);
  });
}

function firstProblem<T>(items: readonly T[], problemOf: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const problem = problemOf(item);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function problemInText(text: string): string | undefined {
  if (control.test(text)) return 'a control character';
  return text.isWellFormed() ? undefined : 'half of a character (a lone surrogate)';
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function isLineage(value: unknown): value is Lineage {
  return lineageProblem(value) === undefined;
}

/** Not copied, so that nothing can be lost or gained on the way. */
export const lineageSchema = z.custom<Lineage>(isLineage, { error: ({ input }) => lineageProblem(input) ?? 'refused' });

/** One form for one meaning, to compare by and to store. */
export function lineageText(lineage: Lineage): string {
  return canonicalText(lineage);
}

/** Reads what is understood. Pure, and total: a member of another form says nothing. */
export function understood(lineage: Lineage): LineageFacts {
  return {
    name: text(member(lineage, 'name')),
    image: text(member(lineage, 'image')),
    imageId: imageId(member(lineage, 'image_id')),
    commit: text(member(lineage, 'commit')),
    builder: named(member(lineage, 'builder')),
    parents: parents(member(lineage, 'parents')),
    signature: signature(member(lineage, 'signature')),
  };
}

function member(lineage: JsonValue | undefined, name: string): JsonValue | undefined {
  if (typeof lineage !== 'object' || lineage === null || isList(lineage)) return undefined;
  return Object.hasOwn(lineage, name) ? lineage[name] : undefined;
}

function isList(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}

function text(value: JsonValue | undefined): string | null {
  return typeof value === 'string' && value !== '' && value.length <= limits.maxForeignTextChars ? value : null;
}

/** A name, or an object that has an `id` or a `name`, as SLSA has builders. */
function named(value: JsonValue | undefined): string | null {
  return text(value) ?? text(member(value, 'id')) ?? text(member(value, 'name'));
}

/** 64 hex digits, with or without `sha256:`; in lower case. */
export function sha256Named(value: string): string | undefined {
  return /^(?:sha256:)?([0-9a-f]{64})$/.exec(value.toLowerCase())?.[1];
}

function imageId(value: JsonValue | undefined): string | null {
  const hex = typeof value === 'string' ? sha256Named(value) : undefined;
  return hex === undefined ? null : `sha256:${hex}`;
}

function parents(value: JsonValue | undefined): readonly string[] | null {
  if (value === undefined || value === null || typeof value !== 'object' || !isList(value)) return null;
  const ids = value.flatMap((id) => (typeof id === 'string' ? (sha256Named(id) ?? []) : []));
  return [...new Set(ids)].slice(0, limits.maxArtifactParents);
}

/** A text is one, and so is an object that has more than `verified`, which says whether it was. */
function signature(value: JsonValue | undefined): SignatureState {
  if (typeof value === 'string') return value === '' ? 'none' : 'present';
  if (typeof value !== 'object' || value === null) return 'none';
  const verified = member(value, 'verified');
  if (verified === true) return 'verified';
  return Object.keys(value).length > (verified === undefined ? 0 : 1) ? 'present' : 'none';
}
