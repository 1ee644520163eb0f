import { lookup as systemLookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import type { buildConnector } from 'undici';
import { AppError } from '../../common/errors.ts';
import type { AddressGuard } from './addresses.ts';

/**
 * Connects only where the guard permits. A name is resolved once, and the connection goes to the addresses that were looked at:
 * one that resolves to something else a moment later changes nothing. Without TLS nothing is sent but to addresses that
 * somebody has allowed by name.
 * @param build undici's, which is loaded when needed.
 * @param resolve as `dns.lookup`
 */
export function guardedConnector(
  build: typeof buildConnector,
  { guard, resolve = systemLookup, ...options }: buildConnector.BuildOptions & GuardOptions,
): buildConnector.connector {
  const to = (permits: Permits) => build({ ...options, lookup: checkedLookup(resolve, permits) });
  const [secure, plain] = [to(guard.mayReach), to(guard.isAllowed)];
  return (target, callback) => {
    const isPlain = target.protocol !== 'https:';
    const permits = isPlain ? guard.isAllowed : guard.mayReach;
    const host = target.hostname.replace(/^\[|\]$/g, '');
    // An address is connected to without being resolved.
    if (isIP(host) !== 0 && !permits(host)) callback(refused(host, isPlain), null);
    else if (isPlain) plain(target, callback);
    else secure(target, callback);
  };
}

export interface GuardOptions {
  readonly guard: AddressGuard;
  readonly resolve?: Resolve;
}

export type Resolve = LookupFunction;
type Permits = (address: string) => boolean;

function checkedLookup(resolve: Resolve, permits: Permits): LookupFunction {
  return (host, options, callback) => {
    resolve(host, options, (error, found, family) => {
      if (error !== null) return callback(error, found, family);
      const addresses = typeof found === 'string' ? [found] : found.map(({ address }) => address);
      // One that is not permitted is enough: who can name one can name others beside it.
      const bad = addresses.find((address) => !permits(address));
      if (bad === undefined) callback(null, found, family);
      else callback(refused(bad, false), '', 0);
    });
  };
}

function refused(address: string, isPlain: boolean): AppError {
  const why = isPlain
    ? 'without TLS nothing is sent there'
    : 'it is no address of the public internet, or would be reached without TLS';
  return new AppError(
    'channel.refused',
    `${address} is not connected to: ${why}; jobs.webhook.allowedAddresses can allow it`,
    { details: { address, isForGood: true } },
  );
}
