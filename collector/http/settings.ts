import { z } from 'zod';
import { limits } from '../../common/limits.ts';
import { isNetwork } from './client-address.ts';

/** Port the collector listens on unless told otherwise. */
export const defaultPort = 7600;

const perMinute = z.int().min(1).max(100_000_000);

/** As browsers send it: scheme, host, and a port that is not the scheme's own. Never a wildcard. */
function isOrigin(text: string): boolean {
  return !text.includes('*') && URL.canParse(text) && /^https?:\/\//.test(text) && new URL(text).origin === text;
}

/** How the collector is reached, and by whom how often. */
export const httpSettings = z.strictObject({
  host: z.string().min(1).default('127.0.0.1').describe('Address to listen on'),
  port: z.int().min(0).max(65_535).default(defaultPort).describe('Port to listen on; 0 takes a free one'),
  tls: z.strictObject({
    certificate: z
      .string()
      .min(1)
      .optional()
      .describe('PEM file of the certificate, with those it was issued by; looked at anew every few seconds'),
    key: z.string().min(1).optional().describe('PEM file of its private key'),
    caFile: z
      .string()
      .min(1)
      .optional()
      .describe('PEM file of a private authority that issued it, for commands that ask this collector'),
  }),
  insecure: z
    .boolean()
    .default(false)
    .describe('Whether to listen without TLS on an address that others can reach, as behind a proxy that has it'),
  cors: z.strictObject({
    origins: z
      .array(z.string().refine(isOrigin, 'an origin such as https://console.example.org, without a path'))
      .max(limits.maxCorsOrigins)
      .default([])
      .describe('Origins whose pages may use the API from a browser, with a token of their own; none unless said'),
  }),
  trustedProxies: z
    .array(z.string().refine(isNetwork, 'an IP address, or a network such as 10.0.0.0/8'))
    .max(limits.maxTrustedProxies)
    .default([])
    .describe('Proxies whose X-Forwarded-For is believed: addresses and networks; of all others it is not read'),
  connections: z.strictObject({
    max: z
      .int()
      .min(1)
      .max(1_000_000)
      .default(limits.maxConnections)
      .describe(
        'Connections that are open at once, of agents and all others; a few beyond it may ask /health, /ready and /metrics',
      ),
    perAddress: z
      .int()
      .min(1)
      .max(1_000_000)
      .default(limits.maxConnectionsPerAddress)
      .describe('The same of one address; trusted proxies and this machine are not bounded by it'),
  }),
  rates: z.strictObject({
    readsPerMinute: perMinute
      .default(limits.readsPerMinute)
      .describe('Reads of the API that one user or token may make; of whoever has not signed in, one address'),
    writesPerMinute: perMinute
      .default(limits.writesPerMinute)
      .describe('The same for everything that changes something'),
    signInsPerMinute: perMinute.default(limits.signInsPerMinute).describe('Attempts to sign in from one address'),
  }),
});

export type HttpSettings = z.output<typeof httpSettings>;
