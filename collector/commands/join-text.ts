import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { isLoopback } from '../http/server.ts';

/** Where a collector listens, as its settings say it. */
export interface Listening {
  readonly host: string;
  readonly port: number;
  /** PEM of its certificate; undefined where it has none, or none that could be read. */
  readonly certificate: string | undefined;
  readonly scheme: 'http' | 'https';
  /** What this machine calls itself. */
  readonly hostname: string;
}

/** The address that nodes are told: where it listens everywhere, by the first name of its certificate, else of the machine. */
export function addressForNodes({ host, port, certificate, scheme, hostname }: Listening): string {
  const everywhere = host === '0.0.0.0' || host === '::';
  const name = everywhere ? (certifiedName(certificate) ?? hostname) : host;
  return new URL(`${scheme}://${isIP(name) === 6 ? `[${name}]` : name}:${port}`).origin;
}

/** A wildcard names no host. */
function certifiedName(certificate: string | undefined): string | undefined {
  if (certificate === undefined) return undefined;
  const names = new X509Certificate(certificate).subjectAltName?.split(', ') ?? [];
  const plain = names.map((name) => /^(?:DNS|IP Address):([^*"]+)$/.exec(name)?.[1]);
  return plain.find((name) => name !== undefined);
}

export interface Joining {
  readonly node: string;
  readonly address: string;
  readonly token: string;
  readonly expires: string;
  readonly logFingerprint: string;
}

/** What `nodes token` shows: the token in a line of its own, and how it is used. */
export function joinText({ node, address, token, expires, logFingerprint }: Joining): string {
  const lines = [
    token,
    '',
    `On ${node}, before ${expires}, once; with an executor there, as root and with --executor-dir /etc/sigilwatch:`,
    '',
    `  sigilwatch-agent enroll --collector ${address} --node ${node} --token ${token}`,
    '',
    `It will show the key of this log: ${logFingerprint}`,
  ];
  if (isLoopback(new URL(address).hostname.replace(/^\[|\]$/g, '')))
    lines.push(`Only this machine can reach ${address}; for others, say in http.host where they can (docs/http.md).`);
  return `${lines.join('\n')}\n`;
}
