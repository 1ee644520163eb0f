import { z } from 'zod';
import { backoffDelayMs } from '../../common/backoff.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { eventFollow, event as eventSchema } from '../api/events-contract.ts';
import { type CallOf, outgoing, refusalIn } from './client.ts';
import { streamMessages } from './event-source.ts';
import type { OpenStream, Streamed } from './network.ts';

export type FollowedEvent = z.output<typeof eventSchema>;

export interface Following {
  readonly open: OpenStream;
  readonly query: NonNullable<CallOf<typeof eventFollow>['query']>;
  /** Headers that say who asks; looked up for each connection. */
  readonly credentials: () => Promise<Readonly<Record<string, string>>>;
  /** Hears why the stream was interrupted, and after which index it goes on. */
  readonly interrupted: (why: string, after: string | undefined) => void;
  /** Resolves after a time, or once `signal` is aborted. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly random: () => number;
  /** Ends it all. */
  readonly signal: AbortSignal;
}

const lastWord = z.object({ message: z.string() });

const bounds = { minMs: limits.eventReconnectMinMs, maxMs: limits.eventReconnectMaxMs };

/**
 * Events as they come, until it is stopped. Where the connection ends it goes on behind the last index that it has heard of, so that
 * nothing is missed or told twice.
 * @throws AppError what the collector refuses for good; `collector.unreachable` where there never was an answer.
 */
export async function* followEvents(following: Following): AsyncGenerator<FollowedEvent> {
  const { signal, interrupted, pause, random } = following;
  let after: string | undefined;
  let connected = false;
  let failures = 0;
  while (!signal.aborted) {
    let why = 'the connection has ended';
    try {
      const stream = await connect(following, after);
      connected = true;
      for await (const { id, event, data } of streamMessages(stream.texts)) {
        failures = 0;
        if (event === 'behind') why = 'behind: entries come faster than they are read here';
        if (event === 'ended') why = endedWhy(data);
        const told = event === 'message' && data !== undefined ? readEvent(data) : undefined;
        // What was heard is heard before anybody else can stop this.
        const isNew = told !== undefined && told.index > Number(after ?? -1);
        after = id ?? after;
        if (isNew) yield told;
      }
    } catch (thrown) {
      if (signal.aborted) return;
      const error = toFollowError(thrown);
      if (!connected || !mayPass(error)) throw error;
      why = error.message;
    }
    if (signal.aborted) return;
    interrupted(why, after);
    await pause(backoffDelayMs(failures, bounds, random), signal);
    failures += 1;
  }
}

async function connect({ open, query, credentials, signal }: Following, after?: string): Promise<Streamed> {
  const resumed = after === undefined ? {} : { 'Last-Event-ID': after };
  const headers = { ...(await credentials()), Accept: 'text/event-stream, application/json', ...resumed };
  const stream = await open(outgoing(eventFollow, { query }, headers), signal);
  if (stream.status === 200) return stream;
  let text = '';
  for await (const part of stream.texts) text += part;
  throw refusalIn({ ...stream, text });
}

/** What breaks under way is a connection that has ended. */
function toFollowError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  const { message } = toAppError(thrown);
  return new AppError('collector.unreachable', `the connection broke: ${message}`, { cause: thrown });
}

/** Whether it may be otherwise in a moment. */
function mayPass({ code, details }: AppError): boolean {
  if (code === 'collector.unreachable' || code === 'state.busy' || code === 'rate_limit.exceeded') return true;
  return typeof details.status === 'number' && details.status >= 500;
}

/** Also where a token has run out: whether there is another one, the next connection shows. */
function endedWhy(data = ''): string {
  const told = lastWord.safeParse(parsed(data));
  return told.success ? told.data.message : 'the collector has ended the stream';
}

function readEvent(data: string): FollowedEvent {
  const read = eventSchema.safeParse(parsed(data));
  if (read.success) return read.data;
  throw new AppError('collector.refused', `an event is not understood: ${z.prettifyError(read.error)}`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
