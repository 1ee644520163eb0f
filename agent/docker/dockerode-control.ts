import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type Docker from 'dockerode';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { asking, clientAt, read, statusOf } from './asking.ts';
import type { EngineControl, FileChange, Outcome } from './control.ts';
import {
  created,
  fileChanges,
  firstFileChanges,
  imageId,
  loadMessage,
  rawContainer,
  type Standing,
  standing,
} from './control-json.ts';
import { lineSplitter } from './lines.ts';
import { outputTail } from './log-frames.ts';

/** A signed entry as it travels: its canonical text, and its signature in base64. */
export interface SignedText {
  readonly text: string;
  readonly signature: string;
}

export interface DockerControlOptions {
  /** Path of the engine's unix socket. */
  readonly socketPath: string;
  /** The entry of the order that the calls are made for: an executor between here and the engine asks for it. */
  readonly order?: SignedText;
  /** What the order commits to, where it makes a container: see `wantedText`. The executor asks for that, too. */
  readonly wanted?: string | undefined;
  /** For calls that are no work on the disk. */
  readonly timeoutMs?: number;
}

/** Base64 of JSON, since the text of an entry may hold any character. The engine itself does not look at it. */
const orderHeader = 'X-Sigilwatch-Order';
const wantedHeader = 'X-Sigilwatch-Wanted';

function headersOf({
  order,
  wanted,
}: Pick<DockerControlOptions, 'order' | 'wanted'>): Readonly<Record<string, string>> {
  return {
    ...(order === undefined ? {} : { [orderHeader]: base64(JSON.stringify(order)) }),
    ...(wanted === undefined ? {} : { [wantedHeader]: base64(wanted) }),
  };
}

function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}

interface Request {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Without a query. What is put into it has been checked, so that it leads nowhere else in the API. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: object;
  readonly file?: NodeJS.ReadableStream;
}

type Ask = ReturnType<typeof asking>['ask'];

/** The hands on the engine behind a local unix socket. */
export function dockerControl(options: DockerControlOptions): EngineControl {
  const { socketPath, timeoutMs } = options;
  const client = clientAt(socketPath, { headers: headersOf(options) });
  const { ask, close } = asking(socketPath, timeoutMs ?? limits.engineTimeoutMs);
  return {
    ...lifeCalls(client, ask),
    ...evidenceCalls(client, ask),
    ...networkCalls(client, ask),
    ...imageCalls(client, ask),
    close,
  };
}

type LifeCalls = Pick<
  EngineControl,
  'kill' | 'stop' | 'start' | 'remove' | 'rename' | 'setRestart' | 'pause' | 'unpause' | 'create'
>;

function lifeCalls(client: Docker, ask: Ask): LifeCalls {
  const workMs = limits.engineWorkTimeoutMs;
  const change = (id: string, verb: string, isSo: IsSo, query: Request['query'] = {}, boundMs?: number) =>
    ask((signal) => changed(client, signal, { id, isSo, request: post(id, verb, query) }), boundMs);
  return {
    kill: async (id) => (await change(id, 'kill', ({ running }) => !running, { signal: 'KILL' }, workMs)) === 'done',
    stop: (id, graceMs) => {
      const seconds = String(Math.ceil(graceMs / 1_000));
      return change(id, 'stop', ({ running }) => !running, { t: seconds }, graceMs + workMs);
    },
    start: (id) => change(id, 'start', ({ running, paused }) => running && !paused, {}, workMs),
    remove: (id) => {
      const query = { force: 'true', v: 'false' };
      const request: Request = { method: 'DELETE', path: `/containers/${id}`, query };
      return ask((signal) => changed(client, signal, { id, isSo: ({ removing }) => removing, request }), workMs);
    },
    rename: (id, name) => change(id, 'rename', (container) => container.name === name, { name }),
    setRestart: (id, { Name, MaximumRetryCount }) => {
      const body = { RestartPolicy: { Name, MaximumRetryCount } };
      const request: Request = { method: 'POST', path: `/containers/${id}/update`, body };
      return ask((signal) => changed(client, signal, { id, isSo: () => false, request }));
    },
    pause: (id) => change(id, 'pause', ({ paused }) => paused),
    unpause: (id) => change(id, 'unpause', ({ running, paused }) => running && !paused),
    create: async (name, body) => {
      const request: Request = { method: 'POST', path: '/containers/create', query: { name }, body };
      const json = await ask((signal) => dial(client, request, signal), workMs);
      return read(created, json, 'POST /containers/create');
    },
  };
}

function evidenceCalls(client: Docker, ask: Ask): Pick<EngineControl, 'rawInspect' | 'logs' | 'changes'> {
  return {
    rawInspect: async (id) => {
      const json = await ask((signal) => ofContainer(id, undefined, () => dial(client, get(id, 'json'), signal)));
      return json === undefined ? undefined : read(rawContainer, json, 'GET /containers/{id}/json');
    },
    logs: (id, lines) => {
      const request = get(id, 'logs', { stdout: 'true', stderr: 'true', tail: String(lines) });
      return ask((signal) => ofContainer(id, '', async () => textOf(await open(client, request, signal)), 501));
    },
    changes: (id) => {
      const request = get(id, 'changes');
      return ask((signal) => ofContainer(id, [], async () => changesOf(await open(client, request, signal))));
    },
  };
}

async function textOf(answer: Readable): Promise<string> {
  const tail = outputTail(limits.maxEvidenceLogBytes);
  let bytes = 0;
  for await (const chunk of answer) {
    tail.push(chunk);
    bytes += chunk.length;
    if (bytes > limits.maxEvidenceAnswerBytes) break;
  }
  return tail.text();
}

async function changesOf(answer: Readable): Promise<readonly FileChange[]> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > limits.maxEvidenceAnswerBytes) return firstFileChanges(Buffer.concat(chunks).toString('utf8'));
  }
  return read(fileChanges, Buffer.concat(chunks).toString('utf8'), 'GET /containers/{id}/changes');
}

function networkCalls(client: Docker, ask: Ask): Pick<EngineControl, 'networks' | 'disconnect' | 'connect'> {
  const change = async (id: string, isSo: IsSo, at: NetworkPath, body: object): Promise<Outcome> => {
    // The engine tidies up a path before it looks at it, encoded or not. All other names are somebody's, however odd.
    if (at.network.split('/').some((part) => ['', '.', '..'].includes(part))) return 'gone';
    const path = `/networks/${encodeURIComponent(at.network)}/${at.verb}`;
    const request: Request = { method: 'POST', path, body: { Container: id, ...body } };
    return ask((signal) => changed(client, signal, { id, isSo, request, needs: at.verb === 'connect' }));
  };
  return {
    networks: (id) => ask(async (signal) => (await stands(client, id, signal))?.networks ?? {}),
    disconnect: (network, id) =>
      change(id, ({ networks }) => !isAttached(networks, network), { network, verb: 'disconnect' }, {}),
    connect: (network, id, endpoint) => {
      const body = { EndpointConfig: endpoint };
      return change(id, ({ networks }) => isAttached(networks, network), { network, verb: 'connect' }, body);
    },
  };
}

function isAttached(networks: Standing['networks'], network: string): boolean {
  const isId = networkId.test(network);
  return Object.entries(networks).some(([name, { NetworkID }]) => (isId ? NetworkID : name) === network);
}

interface NetworkPath {
  readonly network: string;
  readonly verb: 'connect' | 'disconnect';
}

type ImageCalls = Pick<EngineControl, 'findImage' | 'loadImage' | 'tagImage' | 'untag'>;

function imageCalls(client: Docker, ask: Ask): ImageCalls {
  return {
    findImage: async (reference) => {
      if (!imageName.test(reference) || reference.includes('..')) return undefined;
      const request: Request = { method: 'GET', path: `/images/${reference}/json` };
      // A text that is no reference is refused with 400, and no image can have it.
      const json = await ask((signal) => unlessRefused([400, 404], undefined, dial(client, request, signal)));
      return json === undefined ? undefined : read(imageId, json, 'GET /images/{name}/json');
    },
    loadImage: (tar) => loaded(client, ask, tar),
    tagImage: async (id, repository, tag) => {
      if (!imageIdForm.test(id)) return 'gone';
      const request: Request = { method: 'POST', path: `/images/${id}/tag`, query: { repo: repository, tag } };
      return ask((signal) => unlessRefused([404], 'gone', done(dial(client, request, signal))));
    },
    untag: async (reference) => {
      if (!taggedName.test(reference) || imageIdForm.test(reference) || reference.includes('..')) return 'gone';
      const request: Request = { method: 'DELETE', path: `/images/${reference}`, query: { noprune: 'true' } };
      return ask((signal) => unlessRefused([404], 'gone', done(dial(client, request, signal))));
    },
  };
}

/** The engine says 200 before it has looked at the archive, and what is wrong with it in the answer. */
async function loaded(client: Docker, ask: Ask, tar: NodeJS.ReadableStream): Promise<void> {
  const file = new PassThrough();
  let broken: unknown;
  // Also when the archive ends before it is complete, which a plain pipe would wait for.
  const sent = pipeline(tar, file).catch((thrown: unknown) => {
    broken = thrown;
  });
  const request: Request = { method: 'POST', path: '/images/load', query: { quiet: 'true' }, file };
  try {
    await ask(async (signal) => refuseComplaint(await open(client, request, signal)), limits.imageLoadTimeoutMs);
  } catch (thrown) {
    throw broken ?? thrown;
  } finally {
    file.destroy();
    await sent;
  }
}

async function refuseComplaint(answer: Readable): Promise<void> {
  let complaint: string | undefined;
  const push = lineSplitter({
    maxBytes: limits.maxEngineEventBytes,
    onOverlong: () => {},
    onLine: (line) => {
      complaint ??= loadMessage.safeParse(line).data?.error;
    },
  });
  for await (const chunk of answer) push(chunk);
  if (complaint === undefined) return;
  throw new AppError('engine.answer', `the Docker engine does not take the archive: ${complaint}`);
}

const containerId = /^[0-9a-f]{64}$/;
const networkId = containerId;
const imageName = /^[a-zA-Z0-9][\w./:@-]*$/;
const imageIdForm = /^sha256:[0-9a-f]{64}$/;
const taggedName = /^[a-zA-Z0-9][\w./:-]*:\w[\w.-]*$/;

function get(id: string, what: string, query?: Request['query']): Request {
  return { method: 'GET', path: `/containers/${id}/${what}`, ...(query === undefined ? {} : { query }) };
}

function post(id: string, verb: string, query: Readonly<Record<string, string>>): Request {
  return { method: 'POST', path: `/containers/${id}/${verb}`, query };
}

/** Whether what a call wants is so. */
type IsSo = (container: Standing) => boolean;

interface Change {
  readonly id: string;
  readonly isSo: IsSo;
  readonly request: Request;
  /** Whether something beside the container is needed, so that 404 means that one of both is gone. */
  readonly needs?: boolean;
}

/**
 * Asks for a change. Versions of the engine refuse with different statuses what is so already, and with 404 also what a container
 * lacks to start, so a refusal is understood by looking at the container.
 */
async function changed(
  client: Docker,
  signal: AbortSignal,
  { id, isSo, request, needs = false }: Change,
): Promise<Outcome> {
  if (!containerId.test(id)) return 'gone';
  try {
    await dial(client, request, signal);
    return 'done';
  } catch (thrown) {
    const status = statusOf(thrown);
    if (status === undefined) throw thrown;
    if (status === 304) return 'already';
    if (status === 404 && needs) return 'gone';
    const found = await stands(client, id, signal);
    if (found === undefined) return 'gone';
    if (isSo(found)) return 'already';
    throw thrown;
  }
}

async function stands(client: Docker, id: string, signal: AbortSignal): Promise<Standing | undefined> {
  const json = await ofContainer(id, undefined, () => dial(client, get(id, 'json'), signal));
  return json === undefined ? undefined : read(standing, json, 'GET /containers/{id}/json');
}

/** What is read of a container; `none` for one that is gone, or when the engine says that it has nothing of the kind. */
async function ofContainer<T>(id: string, none: T, call: () => Promise<T>, nothingStatus = 404): Promise<T> {
  if (!containerId.test(id)) return none;
  return unlessRefused([404, nothingStatus], none, call());
}

async function unlessRefused<T>(statuses: readonly number[], instead: T, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (thrown) {
    if (statuses.includes(statusOf(thrown) ?? 0)) return instead;
    throw thrown;
  }
}

async function done(answer: Promise<unknown>): Promise<Outcome> {
  await answer;
  return 'done';
}

/** The body of the answer. */
async function dial(client: Docker, request: Request, signal: AbortSignal): Promise<unknown> {
  return raw(client, request, { abortSignal: signal });
}

/** The answer as it comes; whoever stops reading it closes it. */
async function open(client: Docker, request: Request, signal: AbortSignal): Promise<Readable> {
  const answer = await raw(client, request, { abortSignal: signal, isStream: true });
  if (answer instanceof Readable) return answer;
  throw new AppError('internal.error', 'the client of the engine did not open a stream');
}

/** Not by the client's own methods: they take several right answers for errors, and do not let go of one that never ends. */
function raw(
  client: Docker,
  { method, path, query, body = {}, file }: Request,
  how: { readonly abortSignal: AbortSignal; readonly isStream?: true },
): Promise<unknown> {
  const request = {
    ...{ method, ...how },
    // The client takes a question mark at the end for the wish to have the query there.
    path: query === undefined ? path : `${path}?`,
    options: { _query: query ?? {}, _body: body },
    ...(file === undefined ? {} : { file }),
    statusCodes: { 200: true, 201: true, 204: true },
  };
  return new Promise((resolve, reject) => {
    client.modem.dial(request, (error: unknown, answer: unknown) => (error ? reject(error) : resolve(answer)));
  });
}
