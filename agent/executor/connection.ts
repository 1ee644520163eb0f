import type { Socket } from 'node:net';
import { limits } from '../../common/limits.ts';
import {
  type AddressedCall,
  type OrderedCall,
  type OrderedRoute,
  type ReadRoute,
  routeOf,
  type TagRoute,
} from './calls.ts';
import { readConnectBody, readCreateBody, readDisconnectBody, readUpdateBody } from './container-body.ts';
import type { Counters } from './counts.ts';
import { EngineGone } from './engine-look.ts';
import { ClientGone, takeBody, takeHead } from './inbound.ts';
import type { Log } from './log.ts';
import { type OrderTrust, type VerifiedOrder, verifyOrder } from './order-header.ts';
import { keyOf, refusalOf } from './permission.ts';
import { isRefused, type Refused, refused } from './refused.ts';
import { type PassageEnd, relay } from './relay.ts';
import {
  type Framing,
  framingOf,
  orderHeaderName,
  parseHead,
  type RequestHead,
  wantedHeaderName,
} from './request-head.ts';
import type { LookUp } from './seen-container.ts';
import { type Upload, uploadOf } from './upload.ts';
import type { OrderUses, Rate } from './uses.ts';

/** What every connection is served with. */
export interface Service {
  readonly enginePath: string;
  readonly trust: OrderTrust;
  readonly uses: OrderUses;
  readonly tagRate: Rate;
  readonly lookUp: LookUp;
  readonly counters: Counters;
  readonly log: Log;
  /** For what any client can cause as often as it likes. */
  readonly refusalLog: Log;
  readonly now: () => number;
}

/**
 * Serves the one request that a connection is good for, and resolves when it is over. Never rejects: this is the boundary where
 * whatever goes wrong is counted, logged and answered.
 * @param onEndless told when a read that has no end begins, which nobody waits for when the executor ends
 */
export async function serve(client: Socket, service: Service, onEndless: () => void): Promise<void> {
  try {
    const verdict = await handle(client, service, onEndless);
    if (verdict === undefined) return;
    service.counters.refused(verdict.refused);
    service.refusalLog('warn', 'executor.refused', { code: verdict.refused, reason: verdict.reason });
    answer(client, '403 Forbidden', { message: `executor: ${verdict.reason}`, code: verdict.refused });
  } catch (thrown) {
    client.destroy();
    if (thrown instanceof ClientGone) return;
    service.counters.failed(thrown instanceof EngineGone ? 'unreachable' : 'fault');
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    service.log('error', 'executor.failed', { reason });
  }
}

async function handle(client: Socket, service: Service, onEndless: () => void): Promise<Refused | undefined> {
  const taken = await takeHead(client);
  if (isRefused(taken)) return taken;
  const head = parseHead(taken.bytes);
  if (isRefused(head)) return head;
  const framing = framingOf(head);
  if (isRefused(framing)) return framing;
  const route = routeOf(head);
  if (isRefused(route)) return route;
  if (route.kind === 'tag') return passTag(client, { head, framing, route, rest: taken.rest }, service);
  if (route.kind === 'ordered') return passOrdered(client, { head, framing, route, rest: taken.rest }, service);
  // None of the others has a body, so nothing may follow.
  if (taken.rest.length > 0) return refused('request.form', 'the request is followed by more');
  if (route.kind === 'read') return passRead(client, route, service, onEndless);
  service.counters.passed('counts');
  answer(client, '200 OK', service.counters.all());
  return undefined;
}

async function passRead(
  client: Socket,
  { call, target }: ReadRoute,
  { enginePath, counters, refusalLog }: Service,
  onEndless: () => void,
): Promise<Refused | undefined> {
  const isEndless = call === 'events';
  if (isEndless) onEndless();
  const passage = { method: 'GET', target, body: undefined, rest: Buffer.alloc(0), idleMs: limits.executorIdleMs };
  const { how } = await relay(client, { ...passage, isEndless }, enginePath);
  // A client that goes away has had enough: that is how a stream of events ends.
  if (how === 'answered' || how === 'client_gone') {
    counters.passed(call);
    return undefined;
  }
  countEnd(how, counters);
  refusalLog('warn', 'executor.not_passed', { call, how: isRefused(how) ? how.refused : how });
  return undefined;
}

interface ChangingRequest<R extends OrderedRoute | TagRoute> {
  readonly head: RequestHead;
  readonly framing: Framing;
  readonly route: R;
  readonly rest: Buffer;
}

type OrderedRequest = ChangingRequest<OrderedRoute>;

async function passTag(
  client: Socket,
  { head, framing, route, rest }: ChangingRequest<TagRoute>,
  { enginePath, counters, log, tagRate }: Service,
): Promise<Refused | undefined> {
  if (!tagRate.take()) return refused('busy', 'too many images are kept or let go of at a time');
  const taken = await bodyOf(client, { framing, rest, maxBytes: limits.executorMaxIgnoredBodyBytes });
  if (isRefused(taken)) return taken;
  if (taken.rest.length > 0) return refused('request.form', 'the request is followed by more');
  const passage = { method: head.method, target: route.target, body: undefined, rest: taken.rest };
  const end = await relay(client, { ...passage, idleMs: limits.executorWorkIdleMs, isEndless: false }, enginePath);
  const how = isRefused(end.how) ? end.how.refused : end.how;
  log('info', 'executor.passed', { call: route.call, target: route.target, how, status: end.status ?? null });
  if (end.how === 'answered') counters.passed(route.call);
  else countEnd(end.how, counters);
  return undefined;
}

async function passOrdered(client: Socket, request: OrderedRequest, service: Service): Promise<Refused | undefined> {
  const { head, route } = request;
  const { trust, uses, enginePath, log, now } = service;
  // First of all: nothing is read, kept or asked for whoever has no order.
  const order = verifyOrder(head.headers.get(orderHeaderName), trust, now());
  if (isRefused(order)) return order;
  const complete = await completed(client, request);
  if (isRefused(complete)) return complete;
  const { call, body, rest } = complete;
  const wanted = head.headers.get(wantedHeaderName);
  const refusal = await refusalOf(call, order, { ...service, wanted });
  if (refusal !== undefined) return refusal;
  const passage = { method: head.method, target: route.target, body, rest, idleMs: route.idleMs, isEndless: false };
  const end = await relay(client, passage, enginePath);
  if (end.how === 'unreachable') uses.giveBack(order, keyOf(call));
  log('info', 'executor.passed', described(call, order, end));
  if (end.how === 'answered') service.counters.passed(call.call);
  else countEnd(end.how, service.counters);
  return undefined;
}

interface Complete {
  readonly call: OrderedCall;
  readonly body: Buffer | Upload | undefined;
  readonly rest: Buffer;
}

/** The call with what its body says. An image is not waited for: it passes through. */
async function completed(client: Socket, request: OrderedRequest): Promise<Complete | Refused> {
  const { framing, route, rest } = request;
  if (route.call.call === 'load') {
    const upload = uploadOf(framing);
    return isRefused(upload) ? upload : { call: route.call, body: upload, rest };
  }
  const takesBody = ['create', 'connect', 'disconnect'].includes(route.call.call);
  if (takesBody && framing.kind === 'none') return refused('request.body', 'this call needs a body');
  const maxBytes = takesBody ? limits.executorMaxBodyBytes : limits.executorMaxIgnoredBodyBytes;
  const taken = await bodyOf(client, { framing, rest, maxBytes });
  if (isRefused(taken)) return taken;
  if (taken.rest.length > 0) return refused('request.form', 'the request is followed by more');
  return withBody(route.call, taken.bytes);
}

interface AwaitedBody {
  readonly framing: Framing;
  readonly rest: Buffer;
  readonly maxBytes: number;
}

async function bodyOf(client: Socket, { framing, rest, maxBytes }: AwaitedBody) {
  if (framing.kind === 'chunked') return refused('request.form', 'a chunked body where none belongs');
  if (framing.kind === 'none') return { bytes: Buffer.alloc(0), rest };
  if (framing.bytes > maxBytes) return refused('request.size', 'the body is too long');
  return takeBody(client, rest, framing.bytes);
}

function withBody(call: Exclude<AddressedCall, { call: 'load' }>, bytes: Buffer): Complete | Refused {
  const none = Buffer.alloc(0);
  switch (call.call) {
    case 'create': {
      const body = readCreateBody(bytes);
      return isRefused(body) ? body : { call: { ...call, ...body.facts }, body: body.bytes, rest: none };
    }
    case 'connect': {
      const body = readConnectBody(bytes);
      return isRefused(body) ? body : { call: { ...call, ...body.facts }, body: body.bytes, rest: none };
    }
    case 'disconnect': {
      const body = readDisconnectBody(bytes);
      return isRefused(body) ? body : { call: { ...call, ...body.facts }, body: body.bytes, rest: none };
    }
    case 'update': {
      const body = readUpdateBody(bytes);
      return isRefused(body) ? body : { call, body: body.bytes, rest: none };
    }
    default:
      // Clients repeat their parameters in a body, which the engine does not look at; it does not get it.
      return { call, body: undefined, rest: none };
  }
}

function countEnd(how: PassageEnd['how'], counters: Counters): void {
  if (isRefused(how)) counters.refused(how.refused);
  else counters.failed(how);
}

/** One line for everything that was done to the engine, and by which order. */
function described(call: OrderedCall, order: VerifiedOrder, { how, status }: PassageEnd) {
  return {
    call: call.call,
    ...('id' in call ? { container_id: call.id } : {}),
    ...('network' in call ? { network: call.network } : {}),
    ...('name' in call ? { name: call.name } : {}),
    order: order.hash,
    action: order.action,
    how: isRefused(how) ? how.refused : how,
    status: status ?? null,
  };
}

/** Answers as the engine would, and leaves the client time to read it: closing over what it still sends would break the answer. */
function answer(client: Socket, status: string, json: object): void {
  if (!client.writable) return void client.destroy();
  const body = JSON.stringify(json);
  const headers = ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`, 'Connection: close'];
  client.on('data', () => {}).resume();
  client.setTimeout(0);
  const linger = setTimeout(() => client.destroy(), limits.executorLingerMs);
  client.once('close', () => clearTimeout(linger));
  client.end(`HTTP/1.1 ${status}\r\n${headers.join('\r\n')}\r\n\r\n${body}\n`);
}
