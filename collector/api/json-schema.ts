import { z } from 'zod';

/*
 * Our schemas as JSON Schema 2020-12, as OpenAPI 3.1 has them.
 */

export type JsonSchema = z.core.JSONSchema.BaseSchema;

/** Which side of a schema: what is sent (`input`) or what comes out. */
export type Side = 'input' | 'output';

export interface SchemaBook {
  /** @throws Error when a name stands for two schemas, or a schema that contains itself has none. */
  write(schema: z.ZodType, side: Side): JsonSchema;
  /** What was met with a name (`.meta({ id })`), by name. */
  named(): Readonly<Record<string, JsonSchema>>;
}

export const schemaPlace = '#/components/schemas/';

/** Writes schemas one by one; those with a name are written once, and referred to. */
export function createSchemaBook(): SchemaBook {
  const named = new Map<string, JsonSchema>();
  const keep = (name: string, schema: JsonSchema): void => {
    if (name.startsWith('__')) throw new Error('a schema that contains itself needs a name: .meta({ id })');
    const known = named.get(name);
    if (known === undefined) named.set(name, schema);
    // Members are always written in the order of the schema.
    else if (JSON.stringify(known) !== JSON.stringify(schema)) throw new Error(`two schemas have the name ${name}`);
  };
  return {
    write: (schema, side) => {
      // As a member, a schema with a name is a reference like everywhere else.
      const whole = z.toJSONSchema(z.object({ it: schema }), { io: side, override });
      for (const [name, definition] of Object.entries(whole.$defs ?? {})) keep(name, objectOf(moved(definition)));
      return objectOf(moved(whole.properties?.it));
    },
    named: () => Object.fromEntries([...named].sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

type Override = NonNullable<NonNullable<Parameters<typeof z.toJSONSchema>[1]>['override']>;

/** What the library says too much of, or not at all. */
const override: Override = ({ zodSchema, jsonSchema }) => {
  const { def } = zodSchema._zod;
  // A number that comes as text, as in a query: what it has to be as a number says more.
  if (def.type === 'pipe' && def.out._zod.def.type === 'number') {
    for (const name of ['type', 'pattern', 'minLength', 'maxLength']) delete jsonSchema[name];
    const { $schema: _, ...number } = z.toJSONSchema(def.out, { override });
    Object.assign(jsonSchema, number);
  }
  if (def.type === 'default') jsonSchema.default = def.defaultValue;
  // Answers may get more members; only a body is refused for one that is not known.
  if (def.type === 'object' && def.catchall === undefined) delete jsonSchema.additionalProperties;
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  // The format says it; as a pattern it has hundreds of characters.
  if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
};

/** With references to where names are in an OpenAPI document. */
function moved(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(moved);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      name === '$ref' && typeof member === 'string' ? member.replace('#/$defs/', schemaPlace) : moved(member),
    ]),
  );
}

function objectOf(value: unknown): JsonSchema {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
