import type { Shape } from './schema.ts';

const formats: Readonly<Record<string, string>> = {
  uri: 'a URL',
  ipv4: 'an IPv4 address',
  ipv6: 'an IPv6 address',
  email: 'an email address',
  'date-time': 'an RFC 3339 time',
};

/** What a setting accepts, in words: `a whole number from 1 to 65535`, `one of "debug", "info"`, `a list of URLs` ... */
export function accepted(shape: Shape | boolean): string {
  if (typeof shape === 'boolean') return 'a value';
  if (shape.const !== undefined) return JSON.stringify(shape.const);
  if (shape.enum !== undefined) return `one of ${shape.enum.map((value) => JSON.stringify(value)).join(', ')}`;
  if (shape.anyOf !== undefined) return shape.anyOf.map(accepted).join(', or ');
  const types: readonly (string | undefined)[] = Array.isArray(shape.type) ? shape.type : [shape.type];
  return types.map((type) => acceptedType(type, shape)).join(', or ');
}

function acceptedType(type: string | undefined, shape: Shape): string {
  switch (type) {
    case 'integer':
      return `a whole number${numberRange(shape)}`;
    case 'number':
      return `a number${numberRange(shape)}`;
    case 'boolean':
      return 'true or false';
    case 'string':
      return acceptedText(shape);
    case 'array':
      return acceptedList(shape);
    case 'object':
      return acceptedObject(shape);
    case 'null':
      return 'null';
    default:
      return 'a value';
  }
}

function numberRange(shape: Shape): string {
  const from = outsideSafeIntegers(shape.minimum) ? undefined : shape.minimum;
  const to = outsideSafeIntegers(shape.maximum) ? undefined : shape.maximum;
  const parts: string[] = [];
  if (from !== undefined) parts.push(`from ${from}`);
  if (shape.exclusiveMinimum !== undefined) parts.push(`above ${shape.exclusiveMinimum}`);
  if (to !== undefined) parts.push(from === undefined ? `up to ${to}` : `to ${to}`);
  if (shape.exclusiveMaximum !== undefined) parts.push(`below ${shape.exclusiveMaximum}`);
  return parts.length === 0 ? '' : ` ${parts.join(' ')}`;
}

/** zod writes the safe-integer range into every integer; nobody needs to read that. */
function outsideSafeIntegers(bound: number | undefined): boolean {
  return bound !== undefined && Math.abs(bound) >= Number.MAX_SAFE_INTEGER;
}

function acceptedText(shape: Shape): string {
  const named = shape.format === undefined ? undefined : (formats[shape.format] ?? `text of the form ${shape.format}`);
  if (named !== undefined) return named;
  if (shape.pattern !== undefined) return `text matching /${shape.pattern}/`;
  if (shape.maxLength !== undefined) return `text of ${shape.minLength ?? 0} to ${shape.maxLength} characters`;
  if (shape.minLength === undefined) return 'text';
  return shape.minLength === 1 ? 'text that is not empty' : `text of at least ${shape.minLength} characters`;
}

function acceptedList(shape: Shape): string {
  const size = shape.minItems === undefined ? '' : ` of at least ${shape.minItems}`;
  const item = typeof shape.items === 'object' && !Array.isArray(shape.items) ? `, each ${accepted(shape.items)}` : '';
  return `a list${size}${item} (in the environment: JSON, or separated by commas)`;
}

function acceptedObject(shape: Shape): string {
  const names = Object.keys(shape.properties ?? {});
  return names.length === 0 ? 'a map (in the environment: JSON)' : `a map with ${names.join(', ')}`;
}
