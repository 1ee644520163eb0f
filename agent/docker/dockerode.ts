import type Docker from 'dockerode';
import { limits } from '../../common/limits.ts';
import { asking, clientAt, engineError, firstIssue, read, unlessGone } from './asking.ts';
import { type Engine, type EventsOptions, engineActions, type InspectedContainer } from './engine.ts';
import {
  containerInspect,
  containerList,
  engineEvent,
  engineVersion,
  imageInspect,
  networkInspect,
} from './engine-json.ts';
import { lineSplitter } from './lines.ts';

export interface DockerEngineOptions {
  /** Path of the engine's unix socket. */
  readonly socketPath: string;
  /** Only containers with this label are in scope, e.g. `sigilwatch.node=lyra`; without it, all. */
  readonly label?: string;
  readonly timeoutMs?: number;
}

/** After we gave up on a call, its socket is closed this much later. */
const socketGraceMs = 1_000;

/** The engine behind a local unix socket. */
export function dockerEngine(options: DockerEngineOptions): Engine {
  const { socketPath, label } = options;
  const timeoutMs = options.timeoutMs ?? limits.engineTimeoutMs;
  const calls = clientAt(socketPath, { idleMs: timeoutMs + socketGraceMs });
  const streams = clientAt(socketPath);
  const scope = label === undefined ? {} : { label: [label] };
  const { ask, close } = asking(socketPath, timeoutMs);

  return {
    ping: async () => {
      await ask(() => calls.ping());
    },
    version: async () => read(engineVersion, await ask(() => calls.version()), 'GET /version'),
    list: async () => {
      const json = await ask((abortSignal) => calls.listContainers({ all: true, filters: scope, abortSignal }));
      return read(containerList, json, 'GET /containers/json');
    },
    inspect: async (containerId) => {
      const json = await ask((abortSignal) => unlessGone(calls.getContainer(containerId).inspect({ abortSignal })));
      return json === undefined ? undefined : readContainer(json, containerId);
    },
    image: async (imageId) => {
      const json = await ask((abortSignal) => unlessGone(inspectImage(calls, imageId, abortSignal)));
      return json === undefined ? undefined : read(imageInspect, json, `GET /images/${imageId.slice(0, 19)}/json`);
    },
    hasNetwork: async (name) => {
      // It goes into a path.
      if (!/^[a-zA-Z0-9][\w.-]*$/.test(name)) return false;
      const request = `/networks/${name}`;
      const json = await ask((abortSignal) => unlessGone(found(calls, request, abortSignal)));
      // The engine also takes the beginning of an id.
      return json !== undefined && read(networkInspect, json, 'GET /networks/{name}') === name;
    },
    events: async (events) => {
      try {
        await streamEvents(streams, scope, events);
      } catch (thrown) {
        if (!events.signal.aborted) throw engineError(thrown, socketPath);
      }
    },
    close,
  };
}

function inspectImage(docker: Docker, imageId: string, abortSignal: AbortSignal): Promise<unknown> {
  // It came from the engine, and goes into a path.
  if (!/^sha256:[0-9a-f]{64}$/.test(imageId)) return Promise.resolve(undefined);
  return found(docker, `/images/${imageId}/json`, abortSignal);
}

/** dockerode's own calls do not let go of an answer that never ends. */
function found(docker: Docker, path: string, abortSignal: AbortSignal): Promise<unknown> {
  const statusCodes = { 200: true, 404: 'there is none', 500: 'server error' };
  const request = { path, method: 'GET', abortSignal, statusCodes };
  return new Promise((resolve, reject) => {
    docker.modem.dial(request, (error: unknown, json: unknown) => (error ? reject(error) : resolve(json)));
  });
}

async function streamEvents(docker: Docker, scope: { label?: string[] }, options: EventsOptions): Promise<void> {
  options.signal.throwIfAborted();
  const stream = await docker.getEvents({
    ...(options.sinceMs === undefined ? {} : { since: sinceSeconds(options.sinceMs) }),
    filters: { ...scope, type: ['container'], event: [...engineActions] },
    abortSignal: options.signal,
  });
  const push = eventReader(options);
  options.onOpen?.();
  for await (const chunk of stream) push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
}

/** The API takes seconds with a fraction. Rounded down, so that the event at exactly this moment is told again. */
function sinceSeconds(sinceMs: number): number {
  return Math.floor(sinceMs * 1_000 - 1) / 1_000_000;
}

function eventReader(options: EventsOptions): (chunk: Buffer) => void {
  const unreadable = (reason: string): void => options.onUnreadable?.(reason);
  return lineSplitter({
    maxBytes: limits.maxEngineEventBytes,
    onOverlong: () => unreadable(`an event is longer than ${limits.maxEngineEventBytes} bytes`),
    onLine: (line) => {
      const event = engineEvent.safeParse(parseJson(line));
      if (event.success) options.onEvent(event.data);
      else unreadable(firstIssue(event.error));
    },
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function readContainer(json: unknown, containerId: string): InspectedContainer {
  return read(containerInspect, json, `GET /containers/${containerId.slice(0, 12)}/json`);
}
