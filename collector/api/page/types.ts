import { escaped } from '../../../common/report-html.ts';
import { type JsonSchema, schemaPlace } from '../json-schema.ts';

/*
 * JSON Schemas as people read types: `{ items: Order[], next_cursor: string | null }`, as HTML.
 */

const indent = '  ';

/** @param depth of the line that it begins in. */
export function typeHtml(schema: JsonSchema, depth = 0): string {
  const union = schema.anyOf ?? schema.oneOf;
  if (typeof schema.$ref === 'string') return named(schema.$ref);
  if (schema.const !== undefined) return literal(schema.const);
  if (schema.enum !== undefined) return schema.enum.map(literal).join(' | ');
  if (union !== undefined) return unique(union.map((one) => typeHtml(part(one), depth))).join(' | ');
  if (schema.allOf !== undefined) return unique(schema.allOf.map((one) => typeHtml(part(one), depth))).join(' & ');
  const { type } = schema;
  if (Array.isArray(type)) return unique(type.map((one) => plain({ ...schema, type: one }, depth))).join(' | ');
  return plain(schema, depth);
}

function plain(schema: JsonSchema, depth: number): string {
  switch (schema.type) {
    case 'array':
      return arrayHtml(schema, depth);
    case 'object':
      return objectHtml(schema, depth);
    case 'string':
      return schema.format === 'date-time' ? 'time' : 'string';
    case undefined:
      return 'anything';
    default:
      return escaped(String(schema.type));
  }
}

function arrayHtml({ items, prefixItems }: JsonSchema, depth: number): string {
  if (Array.isArray(prefixItems)) return `[${prefixItems.map((one) => typeHtml(part(one), depth)).join(', ')}]`;
  const inner = typeHtml(part(Array.isArray(items) ? items[0] : items), depth);
  return / \| | & /.test(inner) && !inner.startsWith('{') ? `(${inner})[]` : `${inner}[]`;
}

function objectHtml({ properties = {}, required = [], additionalProperties }: JsonSchema, depth: number): string {
  const members = Object.entries(properties).map(([name, of]) => {
    const schema = part(of);
    const mark = required.includes(name) ? '' : '?';
    const notes = notesOf(schema);
    const comment = notes === '' ? '' : `  <i>${escaped(notes)}</i>`;
    return `<b>${escaped(name)}</b>${mark}: ${typeHtml(schema, depth + 1)}${comment}`;
  });
  if (typeof additionalProperties === 'object' && Object.keys(additionalProperties).length > 0) {
    members.push(`[name]: ${typeHtml(part(additionalProperties), depth + 1)}`);
  }
  if (members.length === 0) return '{ … }';
  const inner = indent.repeat(depth + 1);
  return `{\n${members.map((member) => `${inner}${member}\n`).join('')}${indent.repeat(depth)}}`;
}

/** What is said of a value beside its type, as text. */
export function notesOf(schema: JsonSchema): string {
  const { description, minimum, maximum, minLength, maxLength, pattern, contentEncoding } = schema;
  const fallback = schema.default;
  return [
    description,
    range('', minimum, maximum),
    range(' characters', minLength, maxLength),
    pattern === undefined ? undefined : `matches ${pattern}`,
    contentEncoding,
    fallback === undefined || fallback === null ? undefined : `default ${JSON.stringify(fallback)}`,
  ]
    .filter((note) => note !== undefined)
    .join('; ');
}

function range(unit: string, least: number | undefined, most: number | undefined): string | undefined {
  if (least === undefined && most === undefined) return undefined;
  if (most === undefined) return `from ${least}${unit}`;
  if (least === undefined) return `up to ${most}${unit}`;
  return least === most ? `${least}${unit}` : `${least} to ${most}${unit}`;
}

/** The part of a schema that may also be `true`: anything. */
function part(of: unknown): JsonSchema {
  return typeof of === 'object' && of !== null ? { ...of } : {};
}

function named(ref: string): string {
  const name = escaped(ref.replace(schemaPlace, ''));
  return `<a href="#schema-${name}">${name}</a>`;
}

function literal(value: unknown): string {
  return escaped(JSON.stringify(value));
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}
