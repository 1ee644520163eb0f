import { isIP } from 'node:net';
import { parse } from 'yaml';
import { z } from 'zod';
import { DeploymentError } from './failure.ts';

export const authorityFile = '/etc/sigilwatch/collector-ca.pem';

/** Of a collector that is new and was given no settings: reachable for nodes, by TLS. @param host as ssh was given it */
export function firstCollectorSettings(host: string): string {
  return `# Settings of the collector. Every setting with its default and meaning: sigilwatch-collector --print-config
dataDir: /var/lib/sigilwatch-collector
http:
  host: ${isIP(host) === 6 ? "'::'" : '0.0.0.0'}
  port: 7600
  tls: { certificate: /etc/sigilwatch/collector.pem, key: /etc/sigilwatch/collector.key.pem }
`;
}

/** Of a node that is new and was given no settings. */
export function firstNodeSettings(defaults: string, authority: string | undefined): string {
  if (authority === undefined) return defaults;
  return `${defaults.trimEnd()}\n\ncollector:\n  caFile: ${authorityFile}\n`;
}

const printed = z.object({
  http: z.object({
    host: z.string(),
    port: z.int(),
    tls: z.object({ certificate: z.string().optional() }).nullish(),
  }),
});

export interface Addresses {
  /** On the collector's own machine. */
  readonly own: string;
  /** For nodes; undefined when it serves its own machine only. */
  readonly nodes: string | undefined;
}

/** @param text what `--print-config` of the collector says; @param host the collector's as ssh was given it */
export function addressesOf(text: string, host: string): Addresses {
  const { success, data } = printed.safeParse(parse(text));
  if (!success) throw new DeploymentError('the settings of the collector could not be read');
  const { host: bound, port, tls } = data.http;
  const scheme = tls?.certificate === undefined ? 'http' : 'https';
  const address = (name: string) => `${scheme}://${isIP(name) === 6 ? `[${name}]` : name}:${port}`;
  const everywhere = bound === '0.0.0.0' || bound === '::';
  const loopback = /^127\.|^::1$|^localhost$/.test(bound);
  return { own: address(everywhere ? '127.0.0.1' : bound), nodes: loopback ? undefined : address(host) };
}
