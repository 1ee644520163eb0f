import fc from 'fast-check';
import { z } from 'zod';

/*
 * Values that a schema is likely to accept. "Likely" will do: what it refuses is one more wrong request.
 */

/** The parts of JSON Schema that zod writes. */
const node = z.looseObject({
  type: z.string().optional(),
  enum: z.array(z.unknown()).optional(),
  const: z.unknown().optional(),
  anyOf: z.array(z.unknown()).optional(),
  oneOf: z.array(z.unknown()).optional(),
  allOf: z.array(z.unknown()).optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  required: z.array(z.string()).optional(),
  items: z.unknown().optional(),
  minItems: z.number().optional(),
  pattern: z.string().optional(),
  format: z.string().optional(),
  minLength: z.number().optional(),
  maxLength: z.number().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
});

type Node = z.output<typeof node>;

/** Texts by the name of their member, for what only means something when it names what is there. */
export type Known = Readonly<Record<string, readonly string[]>>;

export function valuesOf(schema: z.ZodType, known: Known = {}): fc.Arbitrary<unknown> {
  return ofNode(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }), known, '');
}

function ofNode(given: unknown, known: Known, name: string): fc.Arbitrary<unknown> {
  const parsed = node.safeParse(given);
  if (!parsed.success) return fc.jsonValue();
  const schema = parsed.data;
  const named = known[name];
  if (named !== undefined && named.length > 0 && schema.type === 'string') {
    return fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...named) }, byType(schema, known));
  }
  return byType(schema, known);
}

function byType(schema: Node, known: Known): fc.Arbitrary<unknown> {
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) return fc.oneof(...choices.map((choice) => ofNode(choice, known, '')));
  switch (schema.type) {
    case 'object':
      return objectOf(schema, known);
    case 'array':
      return fc.array(ofNode(schema.items, known, ''), {
        minLength: schema.minItems ?? 0,
        maxLength: (schema.minItems ?? 0) + 3,
      });
    case 'string':
      return textOf(schema);
    case 'integer':
    case 'number':
      return fc.integer({
        min: Math.max(schema.minimum ?? 0, Number.MIN_SAFE_INTEGER),
        max: Math.min(schema.maximum ?? 1_000_000, Number.MAX_SAFE_INTEGER),
      });
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    default:
      return fc.jsonValue();
  }
}

function objectOf({ properties = {}, required = [] }: Node, known: Known): fc.Arbitrary<unknown> {
  const members = Object.entries(properties).map(([name, member]): [string, fc.Arbitrary<unknown>] => [
    name,
    ofNode(member, known, name),
  ]);
  return fc.record(Object.fromEntries(members), { requiredKeys: required.filter((name) => name in properties) });
}

function textOf({ pattern, format, minLength = 0, maxLength = 60 }: Node): fc.Arbitrary<string> {
  if (format === 'date-time') {
    const range = { min: new Date(0), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true };
    return fc.date(range).map((date) => date.toISOString());
  }
  if (maxLength === minLength && format === 'base64') return base64Of(minLength);
  if (pattern !== undefined && format !== 'base64') return matching(pattern);
  const bounded = Math.max(minLength, Math.min(maxLength, 60));
  return fc.string({ unit: 'grapheme', minLength, maxLength: bounded });
}

/** Some patterns are beyond what can be made by them. */
function matching(pattern: string): fc.Arbitrary<string> {
  try {
    return fc.stringMatching(new RegExp(pattern));
  } catch {
    return fc.string();
  }
}

function base64Of(chars: number): fc.Arbitrary<string> {
  const bytes = Math.floor(chars / 4) * 3 - (chars % 3 === 0 ? 0 : 1);
  return fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((raw) => Buffer.from(raw).toString('base64'));
}
