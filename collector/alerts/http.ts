import type { Dispatcher } from 'undici';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { AddressGuard } from '../outgoing/addresses.ts';
import { guardedConnector, type Resolve } from '../outgoing/guarded-connector.ts';
import type { ChannelAnswer } from './alert.ts';
import { oneLine } from './text.ts';

/** One request of a channel. */
export interface ChannelRequest {
  readonly url: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ChannelHttp {
  /**
   * POSTs JSON. No redirect is followed: a secret would travel along, to wherever the answer says.
   * @throws AppError as a channel does. Neither has the URL in it, since with some vendors that is the secret.
   */
  post(request: ChannelRequest): Promise<ChannelAnswer>;
  close(): Promise<void>;
}

export interface ChannelHttpOptions {
  /** The channel's, for messages. */
  readonly name: string;
  /** PEM of the authorities that count instead of those of the system. */
  readonly ca?: string | undefined;
  /** Where connections may go; anywhere without one. */
  readonly guard?: AddressGuard | undefined;
  /** As `dns.lookup`, which it is otherwise. */
  readonly resolve?: Resolve | undefined;
}

/** HTTP as all channels use it: bounded in time and in what is read of the answer. */
export function createChannelHttp({ name, ca, guard, resolve }: ChannelHttpOptions): ChannelHttp {
  /** Loaded when needed: most commands send nothing. */
  const connect = async () => {
    const { Agent, request, buildConnector } = await import('undici');
    const options = { timeout: limits.alertConnectTimeoutMs, ...(ca !== undefined && { ca }) };
    const guarded = guard && { ...options, guard, ...(resolve && { resolve }) };
    const connect = guarded === undefined ? options : guardedConnector(buildConnector, guarded);
    return { request, dispatcher: new Agent({ connect }) };
  };
  let connected: ReturnType<typeof connect> | undefined;
  let isClosed = false;

  async function answerTo({ url, body, headers }: ChannelRequest) {
    if (isClosed) throw new Error('is closed');
    connected ??= connect();
    const { request, dispatcher } = await connected;
    const answer = await request(url, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', 'user-agent': 'sigilwatch-collector', ...headers },
      headersTimeout: limits.alertAnswerTimeoutMs,
      bodyTimeout: limits.alertAnswerTimeoutMs,
      signal: AbortSignal.timeout(limits.alertSendTimeoutMs),
      dispatcher,
    });
    return { status: answer.statusCode, headers: answer.headers, text: await beginningOf(answer.body) };
  }

  return {
    post: async (request) => {
      const { status, headers, text } = await answerTo(request).catch((cause: unknown) => {
        throw unreachable(name, cause);
      });
      const said = oneLine(withoutPath(text, request.url), limits.maxAlertAnswerChars);
      if (status >= 200 && status < 300) return { status: `HTTP ${status}`, text: said };
      throw refusal(name, status, said, retryAfterMs(headers));
    },
    close: async () => {
      isClosed = true;
      await (await connected)?.dispatcher.destroy();
    },
  };
}

/** The status has been given by then: what is wrong with the rest of the answer changes nothing about it. */
async function beginningOf(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes >= limits.maxAlertAnswerBytes) break;
    }
  } catch {
    // Cut off, or too slow.
  }
  return Buffer.concat(chunks).toString('utf8', 0, limits.maxAlertAnswerBytes);
}

/** Servers like to repeat what they were asked for. */
function withoutPath(text: string, url: string): string {
  const { pathname } = new URL(url);
  return pathname.length < minSecretPathChars ? text : text.replaceAll(pathname, '(hidden)');
}

const minSecretPathChars = 8;

/** No answer, for a reason that names hosts and ports at most. */
export function unreachable(name: string, cause: unknown): AppError {
  if (cause instanceof AppError) return cause;
  const reason = cause instanceof AggregateError ? cause.errors[0] : cause;
  const message = oneLine(reason instanceof Error ? reason.message : String(reason), limits.maxAlertAnswerChars);
  return new AppError('channel.unreachable', `channel ${name}: ${message}`, { retryable: true });
}

function refusal(name: string, status: number, said: string, afterMs: number | undefined): AppError {
  const message = `channel ${name} answered HTTP ${status}${said === '' ? '' : `: ${said}`}`;
  // Too early, too many, or in trouble: what is refused today is taken tomorrow.
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    const details = { status, ...(afterMs !== undefined && { retryAfterMs: afterMs }) };
    return new AppError('channel.unreachable', message, { retryable: true, details });
  }
  return new AppError('channel.refused', message, { details: { status } });
}

/** RFC 9110 §10.2.3, in seconds, as Slack, Discord and PagerDuty send it; a date is not waited for. */
function retryAfterMs(headers: Dispatcher.ResponseData['headers']): number | undefined {
  const text = headers['retry-after'];
  if (typeof text !== 'string' || !/^\d{1,6}(\.\d{1,6})?$/.test(text)) return undefined;
  return Math.min(Math.ceil(Number(text) * 1_000), limits.maxAlertRetryAfterMs);
}
