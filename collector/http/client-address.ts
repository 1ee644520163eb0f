import { BlockList, isIP } from 'node:net';
import type { MiddlewareHandler } from 'hono';
import { limits } from '../../common/limits.ts';
import type { HttpEnv } from './env.ts';

/*
 * Whose address a request is from. Anybody can write X-Forwarded-For; what counts of it is what proxies that we trust have
 * put at its end. `Forwarded` (RFC 7239) is not read: with two headers, whoever is in front of a proxy that writes only one
 * of them could choose the other.
 */

/** Where the app is called without a socket. */
export const inProcess = 'local';

/** @param forwarded the header X-Forwarded-For, several of them joined with commas. */
export type ClientAddress = (peer: string | undefined, forwarded: string | undefined) => string;

/** @param trusted addresses and networks (CIDR) of proxies. */
export function clientAddresses(trusted: readonly string[]): ClientAddress {
  const isTrusted = trustedPeers(trusted);
  return (peer, forwarded) => {
    const connected = plainAddress(peer ?? '');
    if (connected === undefined) return peer ?? inProcess;
    let client = connected;
    const hops = forwarded?.split(',').slice(-limits.maxForwardedHops) ?? [];
    // Each hop was written by the one behind it, so the first that is not trusted is as far as can be known.
    for (const hop of hops.reverse()) {
      if (!isTrusted(client)) break;
      const before = plainAddress(hop);
      if (before === undefined) break;
      client = before;
    }
    return client;
  };
}

/** @returns whether an address is one of those proxies. */
export function trustedPeers(trusted: readonly string[]): (address: string) => boolean {
  const proxies = blockList(trusted);
  return (address) => {
    const plain = plainAddress(address);
    return plain !== undefined && proxies.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4');
  };
}

/** Whether an address is this machine's, to itself. */
export function isLocalAddress(address: string): boolean {
  const plain = plainAddress(address) ?? '';
  return plain === '::1' || plain.startsWith('127.');
}

/** Whether a setting names an address or a network. */
export function isNetwork(text: string): boolean {
  const [address = '', prefix, ...more] = text.split('/');
  const version = isIP(address);
  if (version === 0 || more.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 6 ? 128 : 32));
}

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return list;
}

/** As it is compared: without port, brackets, zone, and an IPv4 address as such however it came. Undefined for what is none. */
function plainAddress(text: string): string | undefined {
  const [, bracketed, withPort] = /^\[([^\]]+)\](?::\d+)?$|^([\d.]+):\d+$/.exec(text.trim()) ?? [];
  const [bare = ''] = (bracketed ?? withPort ?? text.trim()).split('%');
  const address = bare.toLowerCase().replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/, '');
  return isIP(address) === 0 ? undefined : address;
}

/**
 * Who is counted as one: an IPv4 address, or the /64 network of an IPv6 address, all of which one machine can have.
 */
export function countedAddress(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = '', tail] = address.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - before.length - after.length;
  const groups = [...before, ...Array.from({ length: Math.max(zeros, 0) }, () => '0'), ...after];
  const network = groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${network.join(':')}::/64`;
}

/** Leaves the address for whoever asks for it later. */
export function withClientAddress(addressOf: ClientAddress): MiddlewareHandler<HttpEnv> {
  return async (c, next) => {
    const { outgoing, incoming } = c.env ?? {};
    const peer = (outgoing?.req ?? incoming)?.socket.remoteAddress;
    c.set('address', addressOf(peer, c.req.header('X-Forwarded-For')));
    await next();
  };
}
