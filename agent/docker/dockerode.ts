import Docker from 'dockerode';
import type { z } from 'zod';
import { AppError, errnoOf, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { type Engine, type EventsOptions, engineActions, type InspectedContainer } from './engine.ts';
import { containerInspect, containerList, engineEvent, engineVersion, imageInspect } from './engine-json.ts';
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

/**
 * The engine behind a local unix socket. No agent is passed: with one of our own dockerode is 30 times slower, since
 * it prints every option of every request for its debug log, whether that is on or not.
 */
export function dockerEngine(options: DockerEngineOptions): Engine {
  const { socketPath, label } = options;
  const timeoutMs = options.timeoutMs ?? limits.engineTimeoutMs;
  // `host: undefined` because dockerode would otherwise prefer DOCKER_HOST to the socket we were told to watch.
  const target = { socketPath, host: undefined, protocol: 'http' } as const;
  const calls = new Docker({ ...target, timeout: timeoutMs + socketGraceMs });
  const streams = new Docker(target);
  const scope = label === undefined ? {} : { label: [label] };
  const closing = new AbortController();

  const ask = async <T>(call: (abortSignal: AbortSignal) => Promise<T>): Promise<T> => {
    try {
      return await within(timeoutMs, closing.signal, call);
    } catch (thrown) {
      throw engineError(thrown, socketPath);
    }
  };

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
    events: async (events) => {
      try {
        await streamEvents(streams, scope, events);
      } catch (thrown) {
        if (!events.signal.aborted) throw engineError(thrown, socketPath);
      }
    },
    close: () => closing.abort(),
  };
}

/** dockerode's own call does not let go of an answer that never ends. */
function inspectImage(docker: Docker, imageId: string, abortSignal: AbortSignal): Promise<unknown> {
  // It came from the engine, and goes into a path.
  if (!/^sha256:[0-9a-f]{64}$/.test(imageId)) return Promise.resolve(undefined);
  const statusCodes = { 200: true, 404: 'no such image', 500: 'server error' };
  const request = { path: `/images/${imageId}/json`, method: 'GET', abortSignal, statusCodes };
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

function read<T>(schema: z.ZodType<T>, json: unknown, request: string): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new AppError('engine.answer', `the Docker engine answered ${request} with ${firstIssue(parsed.error)}`);
}

function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return 'something unreadable';
  return `an unexpected ${issue.path.join('.') || 'document'}: ${issue.message}`;
}

async function unlessGone<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (thrown) {
    if (statusOf(thrown) === 404) return undefined;
    throw thrown;
  }
}

/** dockerode never settles a call whose answer breaks off in the middle, so the deadline cannot be left to it. */
async function within<T>(
  timeoutMs: number,
  closing: AbortSignal,
  call: (abortSignal: AbortSignal) => Promise<T>,
): Promise<T> {
  const unanswered = new AbortController();
  let giveUp: (code: string, message: string) => void = () => {};
  const givenUp = new Promise<never>((_, reject) => {
    giveUp = (code, message) => {
      reject(Object.assign(new Error(message), { code }));
      // An answer that never ends would be gathered for as long as it comes.
      unanswered.abort();
    };
  });
  const close = (): void => giveUp('ECANCELED', 'the agent is stopping');
  const timer = setTimeout(() => giveUp('ETIMEDOUT', `no answer within ${timeoutMs} ms`), timeoutMs);
  closing.addEventListener('abort', close);
  if (closing.aborted) close();
  try {
    return await Promise.race([call(unanswered.signal), givenUp]);
  } finally {
    clearTimeout(timer);
    closing.removeEventListener('abort', close);
  }
}

function statusOf(thrown: unknown): number | undefined {
  if (!(thrown instanceof Error) || !('statusCode' in thrown)) return undefined;
  return typeof thrown.statusCode === 'number' ? thrown.statusCode : undefined;
}

function engineError(thrown: unknown, socketPath: string): AppError {
  const status = statusOf(thrown);
  if (status !== undefined) {
    return new AppError('engine.answer', `the Docker engine at ${socketPath} refused: ${toAppError(thrown).message}`, {
      cause: thrown,
      details: { socketPath, status },
      retryable: status >= 500,
    });
  }
  const errno = errnoOf(thrown);
  if (errno === undefined) return toAppError(thrown);
  return new AppError('engine.unreachable', unreachableMessage(errno, socketPath), {
    cause: thrown,
    details: { socketPath, errno },
    retryable: true,
  });
}

function unreachableMessage(errno: string, socketPath: string): string {
  switch (errno) {
    case 'ENOENT':
      return `no Docker engine at ${socketPath}: start the engine or correct the socket path in the settings`;
    case 'ECONNREFUSED':
      return `nobody answers at ${socketPath}: start the Docker engine`;
    case 'EACCES':
    case 'EPERM':
      return `not allowed to open ${socketPath}: run as root or as a member of the group that owns the socket`;
    case 'ECANCELED':
      return `the Docker engine at ${socketPath} had not answered when the agent was stopped`;
    case 'ETIMEDOUT':
      return `the Docker engine at ${socketPath} does not answer in time: it is frozen or overloaded, check its log`;
    default:
      return `lost the connection to the Docker engine at ${socketPath} (${errno}): check that it still runs`;
  }
}
