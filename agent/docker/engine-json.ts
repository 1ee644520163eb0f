import { z } from 'zod';
import { limits } from '../../common/limits.ts';
import { containerStates, type ObservedContainer } from '../../common/observed.ts';
import { containerConfig } from './config-json.ts';
import { type EngineEvent, type EngineVersion, engineActions, type InspectedContainer } from './engine.ts';

/**
 * The Engine API's JSON, read once at the edge. Fields we do not need are ignored, so newer engines still parse.
 * Source: Docker Engine API v1.41 and later.
 */

/** What Go writes for a time that has not happened. */
const zeroTime = '0001-01-01T00:00:00Z';

/** With the nanoseconds and the offset that Go writes it has 35. */
const maxTimeChars = 64;

const containerId = z.string().regex(/^[0-9a-f]{64}$/);

// Whoever starts a container picks these; cutting may split a surrogate pair, and entries must be well-formed.
const foreignText = z.string().transform((text) => text.slice(0, limits.maxForeignTextChars).toWellFormed());

const containerName = foreignText.transform((name) => name.replace(/^\//, ''));

const engineTime = z.iso.datetime({ offset: true }).max(maxTimeChars);

const happenedAt = engineTime.transform((time) => (time === zeroTime ? null : time));

const health = z
  .object({ Status: z.enum(['', 'none', 'starting', 'healthy', 'unhealthy']) })
  .transform(({ Status }) => (Status === '' ? 'none' : Status));

/** `GET /containers/json`, reduced to the names by id. What another container calls it by (`/other/alias`) is not its name. */
export const containerList = z
  .array(z.object({ Id: containerId, Names: z.array(z.string()).nullish() }))
  .transform(
    (listed): ReadonlyMap<string, string | null> => new Map(listed.map(({ Id, Names }) => [Id, ownName(Names ?? [])])),
  );

function ownName(names: readonly string[]): string | null {
  const own = names.find((name) => /^\/?[^/]+$/.test(name));
  return own === undefined ? null : containerName.parse(own);
}

const observed = z
  .object({
    Id: containerId,
    Name: containerName,
    Image: foreignText,
    Config: z.object({ Image: foreignText }),
    Created: engineTime,
    RestartCount: z.int(),
    State: z.object({
      Status: z.enum(containerStates),
      ExitCode: z.int(),
      StartedAt: happenedAt,
      FinishedAt: happenedAt,
      Health: health.nullish(),
    }),
  })
  .transform(
    (json): ObservedContainer => ({
      id: json.Id,
      name: json.Name,
      image: json.Config.Image,
      imageId: json.Image,
      state: json.State.Status,
      health: json.State.Health ?? 'none',
      exitCode: json.State.ExitCode,
      restartCount: json.RestartCount,
      createdAt: json.Created,
      startedAt: json.State.StartedAt,
      finishedAt: json.State.FinishedAt,
    }),
  );

/** `GET /containers/{id}/json`. */
export const containerInspect = z.unknown().transform((json, context): InspectedContainer => {
  const [container, config] = [observed.safeParse(json), containerConfig.safeParse(json)];
  if (container.success && config.success) return { container: container.data, config: config.data };
  for (const { path, message } of [...(container.error?.issues ?? []), ...(config.error?.issues ?? [])]) {
    context.addIssue({ code: 'custom', path, message });
  }
  return z.NEVER;
});

export { imageConfig as imageInspect } from './config-json.ts';

/** `GET /networks/{name}`, reduced to the name. */
export const networkInspect = z.object({ Name: z.string() }).transform(({ Name }) => Name);

/** `GET /version`. */
export const engineVersion = z
  .object({ Version: z.string(), ApiVersion: z.string() })
  .transform((json): EngineVersion => ({ version: json.Version, apiVersion: json.ApiVersion }));

/** One line of `GET /events`. An action may carry a detail (`health_status: healthy`), which inspecting tells better. */
export const engineEvent = z
  .object({
    Action: z
      .string()
      .transform((action) => action.split(':', 1)[0])
      .pipe(z.enum(engineActions)),
    Actor: z.object({
      ID: containerId,
      Attributes: z.object({ name: containerName.default(''), image: foreignText.default('') }),
    }),
    timeNano: z.number().positive(),
  })
  .transform(
    (json): EngineEvent => ({
      action: json.Action,
      containerId: json.Actor.ID,
      name: json.Actor.Attributes.name,
      image: json.Actor.Attributes.image,
      timeMs: json.timeNano / 1e6,
    }),
  );
