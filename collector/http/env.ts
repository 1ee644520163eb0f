import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Hono } from 'hono';
import type { Caller } from '../auth/caller.ts';
import type { EventStream } from '../events/streams.ts';

/** What the server and the middleware leave for the routes. */
export interface HttpEnv {
  /** What the server passes in. Where the app is called without one, `env` itself is missing. */
  Bindings: {
    readonly incoming?: IncomingMessage;
    readonly outgoing?: ServerResponse;
    /** Where the request is for a WebSocket: takes the stream that is to travel on it. Called once. */
    readonly takeStream?: (stream: EventStream) => void;
  };
  Variables: {
    requestId: string;
    /** Of the client; see `client-address.ts`. */
    address?: string;
    /** Who asks, once the gate has let them pass. */
    caller: Caller;
    /** To be told how large an answer will be before it is made, where that is bounded. @throws AppError `rate_limit.exceeded`. */
    claimBytes?: (bytes: number) => void;
  };
}

/** The app, or a part of it, that routes are added to. */
export type Routes = Hono<HttpEnv>;
