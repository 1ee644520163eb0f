import { hash, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { AppError, errnoOf, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { HttpSettings } from './settings.ts';

/** Paths of PEM files. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
}

/** A certificate with its chain, and its key, that were found to belong together. */
export interface TlsMaterial {
  readonly options: SecureContextOptions;
  /** SHA-256 of both. */
  readonly digest: string;
  /** Of the certificate, as it says itself. */
  readonly validTo: string;
}

/**
 * The files of the settings, or undefined for none.
 * @throws AppError `validation.config` when one of the two is missing.
 */
export function tlsFiles({ tls: { certificate, key } }: Pick<HttpSettings, 'tls'>): TlsFiles | undefined {
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate !== undefined && key !== undefined) return { certificate, key };
  const missing = key === undefined ? 'http.tls.key' : 'http.tls.certificate';
  throw new AppError('validation.config', `TLS is set by half: ${missing} is missing`);
}

/** @throws AppError `validation.config` naming the file, or saying that the two do not belong together. */
export async function readTls({ certificate, key }: TlsFiles): Promise<TlsMaterial> {
  const cert = await readPem(certificate, 'http.tls.certificate');
  const privateKey = await readPem(key, 'http.tls.key');
  const options: SecureContextOptions = { cert, key: privateKey, minVersion: 'TLSv1.2' };
  try {
    createSecureContext(options);
    const { validTo } = new X509Certificate(cert);
    return { options, digest: hash('sha256', `${cert}\0${privateKey}`), validTo };
  } catch (cause) {
    const { message } = toAppError(cause);
    throw new AppError('validation.config', `${certificate} and ${key} are no certificate with its key: ${message}`, {
      cause,
    });
  }
}

async function readPem(path: string, setting: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new AppError('validation.config', `${setting} names ${path}, which cannot be read (${errnoOf(cause)})`, {
      cause,
    });
  }
}

/** What takes a new certificate: a `tls.Server`. Connections that are open keep the one they began with. */
export interface TakesCertificate {
  setSecureContext(options: SecureContextOptions): void;
}

export interface TlsWatch {
  readonly files: TlsFiles;
  readonly inForce: TlsMaterial;
  readonly server: TakesCertificate;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Between two looks. */
  readonly everyMs?: number;
}

/**
 * Puts new files in force once both are there and belong together, until the signal. They are read anew each time: what is
 * behind links may be exchanged as a whole, and their times say nothing then. Bad files leave what is in force.
 */
export async function followTls({ files, inForce, server, logger, signal, everyMs }: TlsWatch): Promise<void> {
  let digest = inForce.digest;
  let told = '';
  while (!signal.aborted) {
    await delay(everyMs ?? limits.tlsLookMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    try {
      const found = await readTls(files);
      if (found.digest !== digest) {
        server.setSecureContext(found.options);
        digest = found.digest;
        logger.info('tls.renewed', { certificate: files.certificate, validTo: found.validTo });
      }
      told = '';
    } catch (thrown) {
      const error = toAppError(thrown);
      if (told !== error.message) logger.error('tls.kept_old', { error });
      told = error.message;
    }
  }
}
