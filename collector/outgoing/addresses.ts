import { BlockList, isIP, isIPv6 } from 'node:net';

/*
 * Which addresses belong to the public internet, after the registries of special-purpose addresses of IANA (RFC 6890 and what came
 * after it). Whoever names a target must not reach what only this machine or its network can reach.
 */

const specialIpv4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.31.196.0', 24],
  ['192.52.193.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['192.175.48.0', 24],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  // Multicast, reserved, broadcast.
  ['224.0.0.0', 3],
];

/** Of what is global unicast (2000::/3): assignments that lead elsewhere, such as Teredo and 6to4, which have an IPv4 address inside. */
const specialIpv6: readonly (readonly [string, number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['2620:4f:8000::', 48],
  ['3fff::', 20],
];

function listOf(ipv4: typeof specialIpv4, ipv6: typeof specialIpv6): BlockList {
  const list = new BlockList();
  for (const [net, prefix] of ipv4) list.addSubnet(net, prefix, 'ipv4');
  for (const [net, prefix] of ipv6) list.addSubnet(net, prefix, 'ipv6');
  return list;
}

const special = listOf(specialIpv4, specialIpv6);
const globalUnicast = listOf([], [['2000::', 3]]);

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4';
}

/** An IPv4 address that is written as an IPv6 one (`::ffff:127.0.0.1`, `::ffff:7f00:1`), as itself; a zone is left away. */
export function plainAddress(address: string): string {
  const bare = address.replace(/^\[|\]$/g, '').replace(/%.*$/, '');
  if (!isIPv6(bare)) return bare;
  const { hostname } = new URL(`http://[${bare}]`);
  const [, high, low] = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(hostname) ?? [];
  if (high === undefined || low === undefined) return bare;
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [a >> 8, a & 255, b >> 8, b & 255].join('.');
}

/** Whether an address is one of the public internet. What is no address is not. */
export function isPublic(address: string): boolean {
  const plain = plainAddress(address);
  const version = isIP(plain);
  if (version === 0 || special.check(plain, familyOf(plain))) return false;
  return version === 4 || globalUnicast.check(plain, 'ipv6');
}

const network = /^([0-9a-fA-F:.]+)\/(\d{1,3})$/;

/** Whether a text is an address with the length of its prefix, such as `10.0.0.0/8` or `fd00::/8`. */
export function isNetwork(text: string): boolean {
  const [, address = '', prefix] = network.exec(text) ?? [];
  const version = isIP(address);
  return version !== 0 && Number(prefix) <= (version === 4 ? 32 : 128);
}

/** Which addresses requests may go to. */
export interface AddressGuard {
  /** Whether somebody has named it as allowed. */
  isAllowed(address: string): boolean;
  /** That, or an address of the public internet. */
  mayReach(address: string): boolean;
}

/** @param allowed networks as {@link isNetwork} has them. */
export function addressGuard(allowed: readonly string[]): AddressGuard {
  const list = new BlockList();
  for (const text of allowed) {
    const [, address = '', prefix = ''] = network.exec(text) ?? [];
    list.addSubnet(address, Number(prefix), familyOf(address));
  }
  const isAllowed = (address: string): boolean => {
    const plain = plainAddress(address);
    return isIP(plain) !== 0 && list.check(plain, familyOf(plain));
  };
  return { isAllowed, mayReach: (address) => isAllowed(address) || isPublic(address) };
}
