import type { Hono } from 'hono';

/** What the middleware leaves for the routes. */
export interface HttpEnv {
  Variables: { requestId: string };
}

/** The app, or a part of it, that routes are added to. */
export type Routes = Hono<HttpEnv>;
