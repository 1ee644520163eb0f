import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { TLSSocket } from 'node:tls';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

/** What a collector answered, and what it showed of itself. */
export interface CollectorAnswer {
  readonly status: number;
  readonly text: string;
  /** The header: whole seconds, Unix milliseconds; undefined where it is missing. */
  readonly dateMs: number | undefined;
  /** Undefined without TLS. */
  readonly tls: TlsSeen | undefined;
}

export interface TlsSeen {
  /** Unix milliseconds, by the certificate itself. */
  readonly validToMs: number;
  /** Why it is not believed, in OpenSSL's word or ours; undefined when it is. */
  readonly problem: string | undefined;
}

/**
 * Asks a collector for one page, and looks at its certificate whether or not it is to be believed: nothing secret is sent.
 * @param ca PEM of the authorities that count; undefined for those of the system.
 * @throws AppError `collector.unreachable`.
 */
export function askCollector(url: URL, ca: string | undefined): Promise<CollectorAnswer> {
  const request = url.protocol === 'https:' ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const fail = (cause: Error) => {
      const why = errnoOf(cause) ?? cause.message;
      reject(new AppError('collector.unreachable', `${url.origin} does not answer (${why})`, { cause }));
    };
    const tls = { rejectUnauthorized: false, minVersion: 'TLSv1.2', ...(ca !== undefined && { ca }) } as const;
    const signal = AbortSignal.timeout(limits.doctorTimeoutMs);
    const asked = request(url, { agent: false, signal, ...tls }, (answer) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      answer.on('data', (part: Buffer) => {
        bytes += part.length;
        parts.push(part);
        if (bytes > limits.maxDoctorAnswerBytes) asked.destroy(new Error('the answer is too long'));
      });
      answer.once('error', fail);
      answer.once('end', () => {
        const dateMs = Date.parse(answer.headers.date ?? '');
        resolve({
          status: answer.statusCode ?? 0,
          text: Buffer.concat(parts).toString('utf8'),
          dateMs: Number.isNaN(dateMs) ? undefined : dateMs,
          tls: seen,
        });
      });
    });
    let seen: TlsSeen | undefined;
    asked.once('socket', (socket) => {
      if (socket instanceof TLSSocket) socket.once('secureConnect', () => (seen = tlsSeen(socket)));
    });
    asked.once('error', fail);
    asked.end();
  });
}

function tlsSeen(socket: TLSSocket): TlsSeen {
  const problem = socket.authorized ? undefined : String(socket.authorizationError);
  return { validToMs: Date.parse(socket.getPeerCertificate().valid_to), problem };
}
