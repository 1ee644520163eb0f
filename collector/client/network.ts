import { readFile } from 'node:fs/promises';
import type { Dispatcher } from 'undici';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { whyNoAnswer } from '../../common/no-answer.ts';
import type { Outgoing, Transport } from './client.ts';

/** Where a collector is. */
export interface ServerAddress {
  /** Perhaps with a path before the API's; http or https. */
  readonly url: string;
  /** PEM file of the authorities that its certificate is checked by; those of the system without it. */
  readonly caFile?: string | undefined;
}

/**
 * Requests to a collector elsewhere.
 * @throws AppError `validation.request` for what is no such URL; later, for a file that holds no certificate.
 */
export function networkTransport(server: ServerAddress): Transport {
  const { origin, prefix } = partsOf(server);
  const dispatcherFor = once(() => dispatcherOf(server));
  return async ({ method, target, headers, body }) => {
    const { request } = await import('undici');
    const trusting = await dispatcherFor();
    const timeoutMs = limits.apiAnswerTimeoutMs;
    try {
      const answer = await request(`${origin}${prefix}${target}`, {
        method,
        headers,
        ...trusting,
        ...(body !== undefined && { body }),
        ...{ headersTimeout: timeoutMs, bodyTimeout: timeoutMs, signal: AbortSignal.timeout(timeoutMs) },
      });
      const text = await answer.body.text();
      return { status: answer.statusCode, text, header: (name) => only(answer.headers[name.toLowerCase()]) };
    } catch (cause) {
      throw noAnswer(origin, cause);
    }
  };
}

/** An answer that goes on. */
export interface Streamed {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  /** Texts as they come, cut anywhere. */
  readonly texts: AsyncIterable<string>;
}

/** @throws AppError `collector.unreachable` when there is no answer; `texts` throws whatever ends it too early. */
export type OpenStream = (request: Outgoing, signal: AbortSignal) => Promise<Streamed>;

/** Streams of a collector elsewhere. One from which nothing comes, not even a sign of life, ends. */
export function networkStreams(server: ServerAddress): OpenStream {
  const { origin, prefix } = partsOf(server);
  const dispatcherFor = once(() => dispatcherOf(server));
  return async ({ method, target, headers }, signal) => {
    const { request } = await import('undici');
    const trusting = await dispatcherFor();
    const bounds = { headersTimeout: limits.apiAnswerTimeoutMs, bodyTimeout: limits.eventSilenceMs, signal };
    try {
      const answer = await request(`${origin}${prefix}${target}`, { method, headers, ...trusting, ...bounds });
      const header = (name: string) => only(answer.headers[name.toLowerCase()]);
      return { status: answer.statusCode, header, texts: answer.body.setEncoding('utf8') };
    } catch (cause) {
      throw noAnswer(origin, cause);
    }
  };
}

function partsOf({ url: text }: ServerAddress): { readonly origin: string; readonly prefix: string } {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw new AppError('validation.request', `${text} must start with http:// or https://`);
  return { origin: url.origin, prefix: url.pathname.replace(/\/+$/, '') };
}

/** @throws AppError `validation.request`. */
async function dispatcherOf({ caFile }: ServerAddress): Promise<{ readonly dispatcher?: Dispatcher }> {
  if (caFile === undefined) return {};
  const ca = await readFile(caFile, 'utf8').catch((cause: unknown) => {
    throw new AppError('validation.request', `the CA file ${caFile} cannot be read (${errnoOf(cause)})`, { cause });
  });
  if (!ca.includes('-----BEGIN CERTIFICATE-----'))
    throw new AppError('validation.request', `in the CA file ${caFile} there is no certificate in PEM`);
  const { Agent } = await import('undici');
  return { dispatcher: new Agent({ connect: { ca } }) };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

function noAnswer(origin: string, cause: unknown): AppError {
  const why = whyNoAnswer(origin, cause, '--ca-file');
  return new AppError('collector.unreachable', `no answer from the collector at ${origin}: ${why}`, { cause });
}

function only(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.[0];
}
