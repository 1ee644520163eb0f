import { z } from 'zod';
import type { YamlPath } from './place.ts';

type Shape = z.core.JSONSchema._JSONSchema;

/**
 * Every key that a schema takes, with those inside it, as a pattern: `containers.*.image`, where `*` stands for any item of
 * a list. What is in a free map has no names.
 */
export function keyPatterns(schema: z.ZodType): readonly string[] {
  return [...new Set(patternsIn(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }), []))];
}

function patternsIn(shape: Shape | undefined, path: readonly string[]): string[] {
  if (typeof shape !== 'object') return [];
  const members = Object.entries(shape.properties ?? {}).flatMap(([key, child]) => [
    [...path, key].join('.'),
    ...patternsIn(child, [...path, key]),
  ]);
  const items = Array.isArray(shape.items) ? [] : patternsIn(shape.items, [...path, '*']);
  const alternatives = shape.anyOf?.flatMap((alternative) => patternsIn(alternative, path)) ?? [];
  return [...members, ...items, ...alternatives];
}

/** What a misspelt key may have been meant to be. */
export interface KnownKeys {
  /** Keys that the map at a path may have. */
  at(path: YamlPath): readonly string[];
  /** Where a key of this name may stand; nothing when that is in many places. */
  places(key: string): readonly string[];
}

/** Those of a schema, taken apart when first asked for. */
export function keysOfSchema(schema: z.ZodType): KnownKeys {
  let patterns: readonly string[] | undefined;
  const known = () => {
    patterns ??= keyPatterns(schema);
    return patterns;
  };
  return { at: (path) => keysAt(known(), path), places: (key) => placesOf(known(), key) };
}

export function patternOf(path: YamlPath): string {
  return path.map((step) => (typeof step === 'number' ? '*' : step)).join('.');
}

/** The keys among `patterns` that the map at `path` may have. */
function keysAt(patterns: readonly string[], path: YamlPath): readonly string[] {
  const inside = path.length === 0 ? '' : `${patternOf(path)}.`;
  return patterns
    .filter((pattern) => pattern.startsWith(inside))
    .map((pattern) => pattern.slice(inside.length))
    .filter((key) => !key.includes('.') && key !== '*');
}

/** More places than this say nothing to whoever put a key somewhere else. */
const maxPlaces = 3;

/** Where among `patterns` a key of this name may stand; nothing when that is in many places. */
function placesOf(patterns: readonly string[], key: string): readonly string[] {
  const parents = patterns
    .map((pattern) => pattern.split('.'))
    .filter((steps) => steps.at(-1) === key)
    .map((steps) => steps.slice(0, -1).filter((step) => step !== '*'));
  const places = [...new Set(parents.map((steps) => steps.join('.') || 'the top of the file'))];
  return places.length > maxPlaces ? [] : places;
}
