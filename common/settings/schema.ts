import { z } from 'zod';
import { AppError } from '../errors.ts';

declare module 'zod' {
  interface GlobalMeta {
    /** The value is masked wherever it is shown, and may also come from a file named by `<VARIABLE>_FILE`. */
    secret?: boolean;
    /** Other environment variables that set this key, e.g. `DATABASE_URL`; the mechanical name wins over them. */
    env?: readonly string[];
  }
}

/** A settings schema is read through its JSON Schema: plain data with types, bounds, defaults and metadata. */
export type Shape = z.core.JSONSchema.BaseSchema;

/** One leaf of a settings schema. */
export interface KnownSetting {
  readonly path: readonly string[];
  /** The path joined with dots, e.g. `scan.intervalMs`. */
  readonly key: string;
  /** Environment variables that set it; the mechanical name first. */
  readonly envNames: readonly string[];
  readonly secret: boolean;
  readonly description: string | undefined;
  readonly shape: Shape;
}

export const secretMask = '********';

/**
 * Every leaf of `schema` in the order of its declaration. A strict object is a section; anything else, lists and
 * records included, is a leaf.
 * @throws AppError `internal.error` when two settings would answer to one environment variable.
 */
export function knownSettings(schema: z.ZodObject, envPrefix: string): readonly KnownSetting[] {
  const settings = leaves(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }), [], envPrefix);
  const owners = new Map<string, string>();
  for (const { key, envNames, secret } of settings) {
    for (const name of envNames.flatMap((plain) => (secret ? [plain, fileVariant(plain)] : [plain]))) {
      const owner = owners.get(name);
      if (owner !== undefined) throw new AppError('internal.error', `${name} would set both ${owner} and ${key}`);
      owners.set(name, key);
    }
  }
  return settings;
}

function leaves(shape: Shape, path: readonly string[], envPrefix: string): readonly KnownSetting[] {
  if (shape.properties !== undefined) {
    return Object.entries(shape.properties).flatMap(([name, child]) =>
      leaves(asShape(child), [...path, name], envPrefix),
    );
  }
  return [
    {
      path,
      key: path.join('.'),
      envNames: [envName(path, envPrefix), ...aliases(shape)],
      secret: shape.secret === true,
      description: shape.description,
      shape,
    },
  ];
}

/** `['scan', 'intervalMs']` is set by `<prefix>SCAN_INTERVAL_MS`. */
function envName(path: readonly string[], envPrefix: string): string {
  const words = path.map((segment) => segment.replace(/([a-z0-9])([A-Z])/g, '$1_$2'));
  return envPrefix + words.join('_').toUpperCase();
}

/** The variable that names a file holding the value, as container platforms hand out secrets. */
export function fileVariant(name: string): string {
  return `${name}_FILE`;
}

function aliases(shape: Shape): readonly string[] {
  const names: unknown = shape.env;
  return Array.isArray(names) ? names.filter((name) => typeof name === 'string') : [];
}

/** What the schema says about the member `segment` of a list or record; the empty shape when it says nothing. */
export function memberShape(shape: Shape, segment: PropertyKey): Shape {
  const alternatives = shape.anyOf?.map((alternative) => memberShape(asShape(alternative), segment)) ?? [];
  const own =
    typeof segment === 'number'
      ? (shape.prefixItems?.[segment] ?? singleItem(shape))
      : (shape.properties?.[String(segment)] ?? shape.additionalProperties);
  return [asShape(own), ...alternatives].find((candidate) => Object.keys(candidate).length > 0) ?? {};
}

function singleItem(shape: Shape): z.core.JSONSchema._JSONSchema | undefined {
  return Array.isArray(shape.items) ? undefined : shape.items;
}

function asShape(schema: z.core.JSONSchema._JSONSchema | undefined): Shape {
  return typeof schema === 'object' ? schema : {};
}

/**
 * A copy of `value` in which everything the schema marks secret is {@link secretMask}, and with it whatever stands
 * where a secret could be: a value of another form than the schema expects, a member it does not know.
 */
export function masked(value: unknown, shape: Shape): unknown {
  if (value === undefined || value === null || !holdsSecret(shape)) return value;
  // A list stays one, so that what is printed can be loaded.
  if (shape.secret === true) return Array.isArray(value) ? value.map(() => secretMask) : secretMask;
  if (Array.isArray(value) && shape.type === 'array') {
    return value.map((item, index) => masked(item, memberShape(shape, index)));
  }
  if (shape.anyOf !== undefined) return maskedBy(shape.anyOf.map(asShape), value);
  if (!isPlainObject(value) || shape.type !== 'object') return secretMask;
  const members = Object.entries(value).map(([key, item]) => [key, maskedMember(item, shape, key)]);
  return Object.fromEntries(members);
}

/** By the one of several forms that the value has. A text that holds credentials was meant for another one. */
function maskedBy(forms: readonly Shape[], value: unknown): unknown {
  if (typeof value === 'string' && /:\/\/[^/\s]*@/.test(value)) return secretMask;
  const kind = Array.isArray(value) ? 'array' : typeof value;
  const [form, ...others] = forms.filter(({ type }) => type === kind);
  return form === undefined || others.length > 0 ? secretMask : masked(value, form);
}

function maskedMember(value: unknown, shape: Shape, key: string): unknown {
  const isKnown = Object.hasOwn(shape.properties ?? {}, key) || typeof shape.additionalProperties === 'object';
  return isKnown ? masked(value, memberShape(shape, key)) : secretMask;
}

function holdsSecret(shape: Shape): boolean {
  if (shape.secret === true) return true;
  const items = Array.isArray(shape.items) ? shape.items : [shape.items];
  const parts = [...items, ...(shape.prefixItems ?? []), ...(shape.anyOf ?? []), shape.additionalProperties];
  return [...parts, ...Object.values(shape.properties ?? {})].some(
    (part) => typeof part === 'object' && holdsSecret(part),
  );
}

/** An object literal or a parsed map; not a class instance such as URL, which prints through its own `toJSON`. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
