import { once } from 'node:events';
import { chmod, mkdir, rm } from 'node:fs/promises';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { type EngineApi, engineApi } from '../engine-api.ts';
import { EngineRefusal } from './engine-refusal.ts';
import { answerImage, answerNetwork } from './engine-routes.ts';
import { EngineState, type FakeContainer, type FakeEvent } from './engine-state.ts';
import {
  changesJson,
  createBody,
  eventLine,
  eventMatches,
  inspectJson,
  labelsMatch,
  listJson,
  logFrames,
  parseFilters,
  sendJson,
  updateBody,
} from './engine-wire.ts';

/** How long a simulated health check takes to say `healthy`. */
const healthDelayMs = 20;

/**
 * A simulated container engine on a unix socket: the part of the Docker Engine API that we use, without any
 * container behind it. It passes the same contract as a real engine, and can be broken in ways a real one rarely is.
 */
export interface FakeEngine extends EngineApi {
  readonly socketPath: string;
  /** Changes containers without a call over the socket, also while the engine is down. */
  readonly state: EngineState;
  /** Stops answering; containers end and remembered events go, as with a real daemon. */
  down(): Promise<void>;
  up(): Promise<void>;
  restart(): Promise<void>;
  /** Breaks every open connection; the engine itself goes on. */
  dropConnections(): void;
  /** Keeps connections open and accepts new ones, but says nothing until `thaw`. */
  freeze(): void;
  thaw(): void;
  /** From now on inspecting this container hangs, fails or answers nonsense. */
  breakInspect(containerId: string, how: 'hangs' | 'fails' | 'lies'): void;
  /** Writes bytes as they are into every open event stream. */
  writeToStreams(bytes: string | Buffer): void;
  stop(): Promise<void>;
}

/** Starts a simulated engine at `socketPath`; its folder is made when missing. */
export async function startFakeEngine(socketPath: string): Promise<FakeEngine> {
  const state = new EngineState();
  const streams = new Set<ServerResponse>();
  const broken = new Map<string, 'hangs' | 'fails' | 'lies'>();
  const freezer = freezerOf();
  const daemon = listenerAt(socketPath, async (request, response) => {
    await freezer.thawed();
    await answer({ state, streams, broken, freezer }, request, response);
  });
  await mkdir(path.dirname(socketPath), { recursive: true });
  await daemon.up();
  const down = async (): Promise<void> => {
    state.shutDown();
    freezer.thaw();
    await daemon.down();
  };
  return {
    ...engineApi(socketPath),
    socketPath,
    state,
    down,
    up: daemon.up,
    restart: async () => {
      await down();
      await daemon.up();
    },
    dropConnections: daemon.dropConnections,
    freeze: freezer.freeze,
    thaw: freezer.thaw,
    breakInspect: (containerId, how) => broken.set(containerId, how),
    writeToStreams: (bytes) => {
      for (const stream of streams) stream.write(bytes);
    },
    stop: down,
  };
}

type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

function listenerAt(socketPath: string, handler: Handler) {
  let server: http.Server | undefined;
  return {
    up: async (): Promise<void> => {
      if (server !== undefined) return;
      server = http.createServer((request, response) => void handler(request, response));
      server.listen(socketPath);
      await once(server, 'listening');
      // Whoever stands between us and an agent has a user of its own.
      await chmod(socketPath, 0o666);
    },
    down: async (): Promise<void> => {
      if (server === undefined) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      server = undefined;
      await closed;
      await rm(socketPath, { force: true });
    },
    dropConnections: (): void => server?.closeAllConnections(),
  };
}

interface Freezer {
  freeze(): void;
  thaw(): void;
  /** Runs the work now, or once thawed; in order. */
  run(work: () => void): void;
  thawed(): Promise<void>;
}

function freezerOf(): Freezer {
  let frozen = false;
  let held: (() => void)[] = [];
  const run = (work: () => void): void => {
    if (frozen) held.push(work);
    else work();
  };
  return {
    run,
    freeze: () => {
      frozen = true;
    },
    thaw: () => {
      frozen = false;
      const due = held;
      held = [];
      for (const work of due) work();
    },
    thawed: () => new Promise((resolve) => run(resolve)),
  };
}

interface Context {
  readonly state: EngineState;
  readonly streams: Set<ServerResponse>;
  readonly broken: ReadonlyMap<string, 'hangs' | 'fails' | 'lies'>;
  readonly freezer: Freezer;
}

async function answer(context: Context, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const url = new URL(request.url ?? '/', 'http://engine');
    const route = `${request.method} ${url.pathname.replace(/^\/v1\.\d+/, '')}`;
    const container = /^(\w+ \/containers\/)([^/]+)(\/\w+)?$/.exec(route);
    if (await answerGeneral(context, route, url.searchParams, request, response)) return;
    if (await answerImage(context.state, route, url.searchParams, request, response)) return;
    if (await answerNetwork(context.state, route, request, response)) return;
    if (container === null) throw new EngineRefusal(404, `page not found: ${route}`);
    const [, prefix = '', ref = '', verb = ''] = container;
    answerContainer(context, `${prefix}*${verb}`, context.state.find(ref), url.searchParams, response);
  } catch (thrown) {
    const status = thrown instanceof EngineRefusal ? thrown.status : 400;
    sendJson(response, status, { message: thrown instanceof Error ? thrown.message : String(thrown) });
  }
}

async function answerGeneral(
  context: Context,
  route: string,
  query: URLSearchParams,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  const { state } = context;
  const [, updated] = /^POST \/containers\/([^/]+)\/update$/.exec(route) ?? [];
  if (updated !== undefined) {
    state.setRestart(updated, updateBody.parse(JSON.parse(await text(request))).RestartPolicy);
    sendJson(response, 200, { Warnings: null });
    return true;
  }
  switch (route) {
    case 'GET /_ping':
      response.end('OK');
      return true;
    case 'GET /version':
      sendJson(response, 200, { Version: '20.10.0-simulated', ApiVersion: '1.41', Os: 'linux' });
      return true;
    case 'GET /containers/json':
      sendJson(response, 200, list(state, query).map(listJson));
      return true;
    case 'GET /events':
      stream(context, query, response);
      return true;
    case 'GET /volumes':
      sendJson(response, 200, { Volumes: [...state.volumes].map((name) => ({ Name: name })) });
      return true;
    case 'POST /containers/create': {
      const body = createBody.parse(JSON.parse(await text(request)));
      sendJson(response, 201, { Id: state.create(query.get('name') ?? '', body).id, Warnings: [] });
      return true;
    }
    default:
      return false;
  }
}

function answerContainer(
  { state, broken }: Context,
  route: string,
  container: FakeContainer,
  query: URLSearchParams,
  response: ServerResponse,
): void {
  const { id } = container;
  switch (route) {
    case 'GET /containers/*/json':
      inspect(container, broken.get(id), response);
      return;
    case 'GET /containers/*/logs':
      response.end(logFrames(container, Number(query.get('tail') ?? 0)));
      return;
    case 'GET /containers/*/changes':
      sendJson(response, 200, changesJson(container));
      return;
    case 'POST /containers/*/wait':
      waitForExit(state, container, response);
      return;
    case 'POST /containers/*/start':
      state.start(id);
      if (container.body.Healthcheck !== undefined) becomeHealthy(state, id);
      break;
    case 'POST /containers/*/stop':
      state.stop(id);
      break;
    case 'POST /containers/*/kill':
      state.kill(id);
      break;
    case 'POST /containers/*/pause':
      state.pause(id);
      break;
    case 'POST /containers/*/unpause':
      state.unpause(id);
      break;
    case 'POST /containers/*/rename':
      state.rename(id, query.get('name') ?? '');
      break;
    case 'DELETE /containers/*':
      state.remove(id);
      break;
    default:
      throw new EngineRefusal(404, `page not found: ${route}`);
  }
  response.writeHead(204).end();
}

function list(state: EngineState, query: URLSearchParams): FakeContainer[] {
  const wanted = parseFilters(query.get('filters'));
  const all = query.get('all') === 'true' || query.get('all') === '1';
  return [...state.containers.values()].filter(
    ({ status, body }) =>
      (all || status === 'running' || status === 'paused') && labelsMatch(body.Labels ?? {}, wanted),
  );
}

function inspect(
  container: FakeContainer,
  broken: 'hangs' | 'fails' | 'lies' | undefined,
  response: ServerResponse,
): void {
  if (broken === 'hangs') return;
  if (broken === 'fails') throw new EngineRefusal(500, 'layer does not exist');
  sendJson(response, 200, broken === 'lies' ? { Id: container.id, State: 'fine' } : inspectJson(container));
}

function waitForExit(state: EngineState, { id }: FakeContainer, response: ServerResponse): void {
  const tell = (): boolean => {
    const { status, exitCode } = state.find(id);
    if (status === 'exited') sendJson(response, 200, { StatusCode: exitCode });
    return status === 'exited';
  };
  if (tell()) return;
  const unsubscribe = state.subscribe((event) => {
    if (event.container.id === id && event.action === 'die' && tell()) unsubscribe();
  });
  response.once('close', unsubscribe);
}

function becomeHealthy(state: EngineState, id: string): void {
  setTimeout(() => {
    if (state.containers.get(id)?.status === 'running') state.setHealth(id, 'healthy');
  }, healthDelayMs).unref();
}

function stream({ state, streams, freezer }: Context, query: URLSearchParams, response: ServerResponse): void {
  const wanted = parseFilters(query.get('filters'));
  const tell = (event: FakeEvent): void => {
    if (eventMatches(event, wanted)) freezer.run(() => response.write(eventLine(event)));
  };
  response.writeHead(200, { 'Content-Type': 'application/json' });
  response.flushHeaders();
  const since = query.get('since');
  if (since !== null) for (const event of state.since(nanoseconds(since))) tell(event);
  const unsubscribe = state.subscribe(tell);
  streams.add(response);
  response.once('close', () => {
    unsubscribe();
    streams.delete(response);
  });
}

/** From seconds with up to six digits of fraction, exactly. */
function nanoseconds(seconds: string): bigint {
  return BigInt(Math.round(Number(seconds) * 1_000_000)) * 1_000n;
}
