import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DeploymentError, reasonOf } from './failure.ts';

const run = promisify(execFile);
/** What clients commonly take at most. */
const validDays = 825;

export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

/** A certificate that vouches for itself, for one host: for a collector that nobody gave another. @throws DeploymentError */
export async function makeCertificate(host: string): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), 'sigilwatch-certificate-'));
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
  const name = `subjectAltName=${isIP(host) === 0 ? 'DNS' : 'IP'}:${host}`;
  try {
    await run('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', String(validDays)],
      ...['-subj', '/CN=sigilwatch collector', '-addext', name, '-keyout', key, '-out', certificate],
    ]);
    return { certificate: await readFile(certificate, 'utf8'), key: await readFile(key, 'utf8') };
  } catch (cause) {
    throw new DeploymentError(
      `openssl could not make a certificate (${reasonOf(cause)}); give one in --collector-settings`,
      { cause },
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
