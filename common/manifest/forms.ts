import { z } from 'zod';
import { isPlainObject } from '../settings/schema.ts';
import { misspelled, type Spelled, spelled } from './spelling.ts';

/*
 * Schema parts for keys that may be written in several forms (a list or a map, a text or a number). A union would only say
 * "invalid input" for the whole; these go by the form that was written, so that a mistake is found where it stands.
 */

/** Names of containers, networks, volumes, variables. */
export const maxNameChars = 255;
/** An argument, a variable's or a label's value; far below what the kernel takes. */
export const maxValueChars = 32_768;
export const maxPathChars = 4_096;
export const maxArguments = 1_000;
export const maxVariables = 1_000;
export const maxLabels = 1_000;
export const maxPorts = 2_000;
export const maxMounts = 500;
export const maxCapabilities = 100;
export const maxNetworks = 100;
export const maxAliases = 100;
export const maxDependencies = 500;
export const maxMountedFiles = 100;
export const maxReplicas = 1_000;

export type Form = 'text' | 'number' | 'boolean' | 'list' | 'map' | 'null';

export type Forms<T> = { readonly [form in Form]?: z.ZodType<T> };

function formOf(value: unknown): Form | undefined {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'list';
  if (isPlainObject(value)) return 'map';
  if (typeof value === 'string') return 'text';
  if (typeof value === 'number') return 'number';
  return typeof value === 'boolean' ? 'boolean' : undefined;
}

/** The value as the schema of its own form reads it; `expected` is said for any other form. */
export function byForm<T>(forms: Forms<T>, expected: string) {
  return z.unknown().transform((value, ctx): T => {
    const form = formOf(value);
    const schema = form === undefined ? undefined : forms[form];
    if (schema !== undefined) return adopted(schema, value, [], ctx);
    ctx.addIssue({ code: 'custom', message: expected });
    return z.NEVER;
  });
}

/** A map of any names to values of one kind, in the order written; `name` judges the names. */
export function mapOf<T>(name: z.ZodType<string>, value: z.ZodType<T>, maxItems: number) {
  return z.unknown().transform((map, ctx): readonly (readonly [name: string, value: T])[] => {
    const entries = isPlainObject(map) ? Object.entries(map) : [];
    if (entries.length > maxItems) ctx.addIssue({ code: 'custom', message: `at most ${maxItems} keys` });
    return entries
      .slice(0, maxItems)
      .map(([key, item]) => [adopted(name, key, [key], ctx), adopted(value, item, [key], ctx)]);
  });
}

/** A schema whose value goes through a function that may refuse it. */
export function spelledBy<S extends z.ZodType, T>(schema: S, spell: (written: z.output<S>) => Spelled<T>) {
  return schema.transform((written, ctx): T => {
    const result = spell(written);
    if (result.ok) return result.value;
    ctx.addIssue({ code: 'custom', message: result.reason });
    return z.NEVER;
  });
}

/** What `schema` makes of a part of a value; its issues become those of the whole. */
function adopted<T>(schema: z.ZodType<T>, value: unknown, path: PropertyKey[], ctx: z.RefinementCtx): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues) {
    const at = { path: [...path, ...issue.path], message: issue.message };
    // Unknown keys stay what they are, for "did you mean".
    if (issue.code !== 'unrecognized_keys') ctx.addIssue({ code: 'custom', ...at });
    else ctx.issues.push({ code: 'unrecognized_keys', keys: issue.keys, input: {}, ...at });
  }
  return z.NEVER;
}

/** No system call takes a zero byte in a text. */
export const bounded = (maxChars: number) =>
  z
    .string()
    .max(maxChars)
    .refine((text) => text.isWellFormed() && !text.includes('\0'), 'text without broken characters');

/** Names of containers, networks, variables. */
export const name = bounded(maxNameChars).min(1);
/** An argument, or what a variable or label is set to. */
export const value = bounded(maxValueChars);
export const path = bounded(maxPathChars);

/** A number where a text is meant, as compose writes it out; where it would write it otherwise than we do, it is refused. */
export const numberAsText = z
  .number()
  .refine((number) => {
    const magnitude = Math.abs(number);
    return Number.isInteger(number) ? Number.isSafeInteger(number) : magnitude >= 1e-4 && magnitude < 1e15;
  }, 'a number in quotes, since this one can be written out in more than one way')
  .transform(String);

const truths = ['true', 'yes', 'y', 'on', '1', 't'];
const untruths = ['false', 'no', 'n', 'off', '0', 'f'];

/** Also the words that compose takes for one, since a text is all that a variable can yield. */
export const truth = byForm(
  {
    boolean: z.boolean(),
    text: spelledBy(z.string(), (text): Spelled<boolean> => {
      const known = [...truths, ...untruths].includes(text.toLowerCase());
      return known ? spelled(truths.includes(text.toLowerCase())) : misspelled('true or false');
    }),
  },
  'true or false',
);

/** A text, or a number that means the text it is written as. */
export const textOrNumber = byForm({ text: bounded(maxNameChars), number: numberAsText }, 'a text or a number');
