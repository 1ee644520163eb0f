import { z } from 'zod';
import type { Endpoint } from '../../common/container-spec.ts';
import { limits } from '../../common/limits.ts';
import type { FileChange } from './control.ts';

/** What the engine answers to those who change something. Source: Docker Engine API v1.41. */

const text = z.string().transform((value) => value.toWellFormed());

/** Go writes null for what is empty. */
const given = <T>(schema: z.ZodType<T>) => schema.nullish().transform((value) => value ?? undefined);

/** `POST /containers/create`. */
export const created = z.object({ Id: z.string().regex(/^[0-9a-f]{64}$/) }).transform(({ Id }) => Id);

/** `GET /containers/{id}/json`, as the engine has it. */
export const rawContainer = z.looseObject({ Id: z.string() });

/** `GET /images/{name}/json`, reduced to the id. */
export const imageId = z.object({ Id: z.string().regex(/^sha256:[0-9a-f]{64}$/) }).transform(({ Id }) => Id);

/** What the engine adds by itself (addresses, ids, a gateway) is not for whoever connects again to say. */
const endpoint = z
  .object({
    Aliases: given(z.array(text)),
    Links: given(z.array(text)),
    IPAMConfig: given(z.record(z.string(), z.union([z.string(), z.array(z.string())]))),
    DriverOpts: given(z.record(z.string(), text)),
  })
  .transform(
    ({ Aliases, Links, IPAMConfig, DriverOpts }): Endpoint => ({
      ...(Aliases === undefined ? {} : { Aliases }),
      ...(Links === undefined ? {} : { Links }),
      ...(IPAMConfig === undefined ? {} : { IPAMConfig }),
      ...(DriverOpts === undefined ? {} : { DriverOpts }),
    }),
  );

/** `GET /containers/{id}/json`, reduced to what a change may find to be so already. */
export const standing = z
  .object({
    Name: z.string().transform((name) => name.replace(/^\//, '')),
    State: z.object({ Status: z.string(), Running: z.boolean(), Paused: z.boolean() }),
    NetworkSettings: z.object({ Networks: given(z.record(z.string(), endpoint)) }),
  })
  .transform(({ Name, State, NetworkSettings }) => ({
    name: Name,
    running: State.Running,
    paused: State.Paused,
    removing: State.Status === 'removing',
    networks: NetworkSettings.Networks ?? {},
  }));

export type Standing = z.output<typeof standing>;

const changeKinds = ['modified', 'added', 'deleted'] as const;

const fileChange = z
  .object({ Path: text, Kind: z.int().min(0).max(2) })
  .transform(({ Path, Kind }): FileChange => ({ path: Path, kind: changeKinds[Kind] ?? 'modified' }));

const json = z.string().transform((written, context): unknown => {
  try {
    return JSON.parse(written);
  } catch {
    context.addIssue({ code: 'custom', message: 'no JSON' });
    return z.NEVER;
  }
});

/** `GET /containers/{id}/changes`, as text. */
export const fileChanges = json
  .pipe(z.array(z.unknown()).nullable())
  .transform((changes) => (changes ?? []).slice(0, limits.maxEvidenceChanges))
  .pipe(z.array(fileChange));

/** The changes in the beginning of an answer that was not read to its end. */
export function firstFileChanges(beginning: string): readonly FileChange[] {
  const objects = beginning.matchAll(/\{(?:[^{}"]|"(?:[^"\\]|\\.)*")*\}/g);
  const found: FileChange[] = [];
  for (const [json] of objects) {
    if (found.length === limits.maxEvidenceChanges) break;
    const change = fileChange.safeParse(JSON.parse(json));
    if (change.success) found.push(change.data);
  }
  return found;
}

/** One line of the answer to `POST /images/load`: progress, or what went wrong. */
export const loadMessage = json.pipe(z.object({ error: z.string().optional() }));
