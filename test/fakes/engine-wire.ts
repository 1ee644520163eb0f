import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import type { FakeImage } from './engine-images.ts';
import { networkId } from './engine-networks.ts';
import type { CreateBody, FakeContainer, FakeEvent } from './engine-state.ts';

/** The simulated engine's JSON, in the shapes of Docker Engine API 1.41. */

const zeroTime = '0001-01-01T00:00:00Z';

const filters = z.record(z.string(), z.array(z.string()).or(z.record(z.string(), z.boolean())));

/** `POST /containers/{id}/update`, of which only this is asked. */
export const updateBody = z.strictObject({ RestartPolicy: z.record(z.string(), z.unknown()) });

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
  HostConfig: z
    .looseObject({
      Binds: z.array(z.string()).optional(),
      Mounts: z.array(z.looseObject({ Target: z.string(), ReadOnly: z.boolean().optional() })).optional(),
      NetworkMode: z.string().optional(),
    })
    .optional(),
  NetworkingConfig: z
    .looseObject({ EndpointsConfig: z.record(z.string(), z.record(z.string(), z.unknown())).optional() })
    .optional(),
});

export function sendJson(response: ServerResponse, status: number, json: unknown): void {
  if (status === 304) response.writeHead(status).end();
  else response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(json));
}

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
    HostConfig: { NetworkMode: 'default', ...container.body.HostConfig },
    Mounts: container.mounts,
    NetworkSettings: { Networks: Object.fromEntries([...container.networks].map(endpointJson)) },
  };
}

/** With some of what the engine fills in. */
function endpointJson([name, endpoint]: readonly [string, object]): readonly [string, unknown] {
  return [
    name,
    { IPAMConfig: null, Links: null, Aliases: null, ...endpoint, NetworkID: networkId(name), Gateway: '10.0.0.1' },
  ];
}

/** The last lines in frames, as the engine sends what a program without a terminal wrote. */
export function logFrames(container: FakeContainer, lines: number): Buffer {
  const shown = lines === 0 ? [] : container.ran.output.slice(-lines);
  return Buffer.concat(
    shown.map(({ to, text }) => {
      const output = Buffer.from(text);
      const header = Buffer.of(to === 'stdout' ? 1 : 2, 0, 0, 0, 0, 0, 0, 0);
      header.writeUInt32BE(output.length, 4);
      return Buffer.concat([header, output]);
    }),
  );
}

export function changesJson({ ran }: FakeContainer): unknown {
  return ran.added.length === 0 ? null : ran.added.map((path) => ({ Path: path, Kind: 1 }));
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
