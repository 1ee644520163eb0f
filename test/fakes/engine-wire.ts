import { z } from 'zod';
import type { CreateBody, FakeContainer, FakeEvent, FakeImage } from './engine-state.ts';

/** The simulated engine's JSON, in the shapes of Docker Engine API 1.41. */

const zeroTime = '0001-01-01T00:00:00Z';

const filters = z.record(z.string(), z.array(z.string()).or(z.record(z.string(), z.boolean())));

/** Filter name to accepted values; clients send the values as a list or as the keys of an object. */
export type Filters = ReadonlyMap<string, readonly string[]>;

export function parseFilters(text: string | null): Filters {
  const parsed = filters.parse(JSON.parse(text ?? '{}'));
  return new Map(
    Object.entries(parsed).map(([name, values]) => [name, Array.isArray(values) ? values : Object.keys(values)]),
  );
}

export const createBody: z.ZodType<CreateBody> = z.looseObject({
  Image: z.string(),
  Cmd: z.array(z.string()).default([]),
  Entrypoint: z.array(z.string()).optional(),
  Env: z.array(z.string()).default([]),
  User: z.string().optional(),
  Labels: z.record(z.string(), z.string()).default({}),
  HostConfig: z.looseObject({ Binds: z.array(z.string()).optional() }).optional(),
});

/** All the labels asked for, each as `key` or `key=value`. */
export function labelsMatch(labels: Readonly<Record<string, string>>, wanted: Filters): boolean {
  return (wanted.get('label') ?? []).every((label) => {
    const [key = '', ...value] = label.split('=');
    return value.length === 0 ? key in labels : labels[key] === value.join('=');
  });
}

export function eventMatches(event: FakeEvent, wanted: Filters): boolean {
  const [action = ''] = event.action.split(':', 1);
  const types = wanted.get('type') ?? ['container'];
  const actions = wanted.get('event') ?? [action];
  return types.includes('container') && actions.includes(action) && labelsMatch(event.container.labels, wanted);
}

export function eventLine(event: FakeEvent): string {
  const json = JSON.stringify({
    status: event.action,
    id: event.container.id,
    from: event.container.image,
    Type: 'container',
    Action: event.action,
    Actor: { ID: event.container.id, Attributes: event.attributes },
    scope: 'local',
    time: Number(event.timeNs / 1_000_000_000n),
  });
  // Nanoseconds pass what a JavaScript number holds, but not what JSON does.
  return `${json.slice(0, -1)},"timeNano":${event.timeNs}}\n`;
}

export function inspectJson(container: FakeContainer): unknown {
  const { health } = container;
  return {
    Id: container.id,
    Created: engineTime(container.createdNs),
    Name: `/${container.name}`,
    Image: container.imageId,
    RestartCount: 0,
    State: {
      Status: container.status,
      Running: container.status === 'running' || container.status === 'paused',
      Paused: container.status === 'paused',
      ExitCode: container.exitCode,
      StartedAt: engineTime(container.startedNs),
      FinishedAt: engineTime(container.finishedNs),
      ...(health === undefined ? {} : { Health: { Status: health, FailingStreak: 0, Log: [] } }),
    },
    Config: container.body,
    HostConfig: container.body.HostConfig ?? {},
    Mounts: (container.body.HostConfig?.Binds ?? []).map(mountJson),
  };
}

/** `source:target[:ro]`; a source that is no path is a volume's name. */
function mountJson(bind: string): unknown {
  const [source = '', target, mode] = bind.split(':');
  const named = source.startsWith('/') ? { Type: 'bind', Source: source } : { Type: 'volume', Name: source };
  return { ...named, Destination: target, RW: mode !== 'ro' };
}

export function imageJson({ id, ...config }: FakeImage): unknown {
  return { Id: id, Config: config };
}

export function listJson(container: FakeContainer): unknown {
  return {
    Id: container.id,
    Names: [`/${container.name}`],
    Image: container.body.Image,
    ImageID: container.imageId,
    Created: Number(container.createdNs / 1_000_000_000n),
    Labels: container.body.Labels ?? {},
    State: container.status,
  };
}

/** RFC 3339 with nine digits, as Go writes it. */
function engineTime(ns: bigint | undefined): string {
  if (ns === undefined) return zeroTime;
  const fraction = (ns % 1_000_000_000n).toString().padStart(9, '0');
  return new Date(Number(ns / 1_000_000n)).toISOString().replace(/\.\d+Z$/, `.${fraction}Z`);
}
