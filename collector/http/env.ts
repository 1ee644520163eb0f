import type { ServerResponse } from 'node:http';
import type { Hono } from 'hono';

/** What the server and the middleware leave for the routes. */
export interface HttpEnv {
  /** What the server passes in. Where the app is called without one, `env` itself is missing. */
  Bindings: { readonly outgoing?: ServerResponse };
  Variables: {
    requestId: string;
    /** To be told how large an answer will be before it is made, where that is bounded. @throws AppError `rate_limit.exceeded`. */
    claimBytes?: (bytes: number) => void;
  };
}

/** The app, or a part of it, that routes are added to. */
export type Routes = Hono<HttpEnv>;
