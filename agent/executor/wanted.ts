import { hash } from 'node:crypto';
import { committedLabels, isUnsourced, namesOf, withSource } from '../../common/container-spec.ts';
import { decodeBase64 } from '../../common/encoding.ts';
import { limits } from '../../common/limits.ts';
import { orderLabel } from '../orders/replace.ts';
import type { OrderedCall } from './calls.ts';
import type { VerifiedOrder } from './order-header.ts';
import { isSame, type Members, membersOf, parseJson } from './plain-json.ts';
import { isRefused, type Refused, refused } from './refused.ts';
import type { LookUp } from './seen-container.ts';

/** A call that makes a container, or attaches what was made to a network. */
export type MakingCall = Extract<OrderedCall, { call: 'create' | 'connect' }>;

/**
 * Why a call is not what its order commits to: `wanted` of the order is the hash of what is to be made, `header` what was hashed.
 * All that a manifest can say of a container's host side is compared; the agent decides about nothing of it.
 * @param header canonical JSON of a `HostSide`, in base64
 * @returns undefined when it is as wanted
 */
export async function unwantedOf(
  call: MakingCall,
  {
    order,
    header,
    lookUp,
  }: { readonly order: VerifiedOrder; readonly header: string | undefined; readonly lookUp: LookUp },
): Promise<Refused | undefined> {
  const wanted = readWanted(header, order.wanted);
  if (isRefused(wanted)) return wanted;
  const { ConnectTo: connectTo, ...host } = wanted;
  if (call.call === 'connect') {
    const asked = { network: call.network, endpoint: call.endpoint };
    const isWanted = Array.isArray(connectTo) && connectTo.some((one) => isSame(one, asked));
    return isWanted ? undefined : other('the container is wanted on another network, or otherwise');
  }
  const sourced = await withSources(host, order, lookUp);
  if (sourced === undefined) return other('a mount is wanted whose source nobody knows');
  return isSame(sourced, call.made) ? undefined : other('another container is wanted');
}

function other(reason: string): Refused {
  return refused('order.wanted', reason);
}

/** Of what an order that makes nothing, or commits to nothing, permits, this is no part. */
function readWanted(header: string | undefined, digest: string | undefined): Members | Refused {
  if (digest === undefined) return other('the order does not commit to what is to be made');
  if (header === undefined || header.length > limits.executorMaxWantedHeaderChars) {
    return other('the call does not say what the order commits to');
  }
  const bytes = decodeBase64(header);
  if (bytes === undefined || hash('sha256', bytes, 'hex') !== digest)
    return other('the order commits to something else');
  return membersOf(parseJson(bytes.toString('utf8'))) ?? other('the order commits to no container');
}

/** A relative source, which git does not know, is that of the container which the order names; the engine says it, and nobody else. */
async function withSources(
  host: Members,
  { containerId }: VerifiedOrder,
  lookUp: LookUp,
): Promise<Members | undefined> {
  const config = membersOf(host.HostConfig);
  const binds = config?.Binds;
  if (!isTexts(binds) || !binds.some(isUnsourced)) return host;
  const mounted = containerId === null ? [] : ((await lookUp(containerId))?.mounted ?? []);
  try {
    return { ...host, HostConfig: { ...config, Binds: binds.map((bind) => withSource(bind, mounted)) } };
  } catch {
    return undefined;
  }
}

/**
 * The host side of a container as a body describes it, all but the networks that it is attached to later. What is not named here is
 * part of it, under whatever name, so that nothing a manifest does not say can be equal to what is wanted.
 * @returns undefined when it has not the form of one
 */
export function hostSideOfBody(body: Members): Members | undefined {
  const { Cmd: _cmd, Entrypoint: _entrypoint, Healthcheck: _healthcheck, Env = [], Labels, ...rest } = body;
  const labels = membersOf(Labels);
  if (!isTexts(Env) || labels === undefined) return undefined;
  const names = Object.keys(labels).filter((name) => name !== orderLabel);
  return { ...rest, Env: namesOf(Env), Labels: committedLabels(names) };
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}
