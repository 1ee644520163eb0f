import { type JsonSchema, schemaPlace } from '../json-schema.ts';
import type { OpenApiDocument, ParameterObject, PlacedOperation } from '../openapi-document.ts';

type Schemas = OpenApiDocument['components']['schemas'];

/** A request as people try it in a shell. `$COLLECTOR` and `$TOKEN` are theirs to set. */
export function exampleOf(
  document: OpenApiDocument,
  { path, method, operation: { security, requestBody, parameters } }: PlacedOperation,
): string {
  const needed = parameters
    .filter((one): one is ParameterObject => 'in' in one)
    .filter((one) => one.in === 'query' && one.required === true)
    .map(({ name }) => `${name}=${name.toUpperCase()}`);
  const place = path.replace(/\{(\w+)\}/g, (_, name: string) => name.toUpperCase());
  const query = needed.length === 0 ? '' : `?${needed.join('&')}`;
  const body = requestBody?.content['application/json']?.schema;
  const parts = [
    `curl${method === 'get' ? '' : ` -X ${method.toUpperCase()}`} "$COLLECTOR${place}${query}"`,
    ...(security.length === 0 ? [] : ['-H "Authorization: Bearer $TOKEN"']),
    ...(body === undefined
      ? []
      : [
          "-H 'Content-Type: application/json'",
          `-d ${quoted(JSON.stringify(sample(document.components.schemas, body)))}`,
        ]),
  ];
  return parts.join(' \\\n  ');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A value that shows the form: what has to be there, and nothing else. It need not be one that is accepted. */
export function sample(schemas: Schemas, schema: JsonSchema): unknown {
  if (typeof schema.$ref === 'string') {
    const { [schema.$ref.replace(schemaPlace, '')]: named = {}, ...others } = schemas;
    // Without itself, or a schema that contains itself would not come to an end.
    return sample(others, named);
  }
  if (schema.default !== undefined) return schema.default;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum !== undefined) return schema.enum[0];
  const [one] = schema.anyOf ?? schema.oneOf ?? schema.allOf ?? [];
  if (typeof one === 'object') return sample(schemas, one);
  return sampleOfType(schemas, schema);
}

function sampleOfType(schemas: Schemas, schema: JsonSchema): unknown {
  const [type] = Array.isArray(schema.type) ? schema.type : [schema.type];
  switch (type) {
    case 'object': {
      const required = Object.entries(schema.properties ?? {}).filter(([name]) => schema.required?.includes(name));
      return Object.fromEntries(
        required.map(([name, of]) => [name, typeof of === 'object' ? sampleNamed(schemas, name, of) : '…']),
      );
    }
    case 'array':
      return typeof schema.items === 'object' && !Array.isArray(schema.items) ? [sample(schemas, schema.items)] : [];
    case 'integer':
    case 'number':
      return Math.max(schema.minimum ?? 1, 1);
    case 'boolean':
      return true;
    case 'null':
      return null;
    default:
      return schema.format === 'date-time' ? '2026-01-31T12:00:00Z' : '…';
  }
}

/** A text says what it is for by its name. */
function sampleNamed(schemas: Schemas, name: string, schema: JsonSchema): unknown {
  const value = sample(schemas, schema);
  return value === '…' ? name.toUpperCase() : value;
}
