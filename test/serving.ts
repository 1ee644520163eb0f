import { Hono } from 'hono';
import { type Caller, local } from '../collector/auth/caller.ts';
import type { HttpEnv } from '../collector/http/env.ts';
import { errorAnswer } from '../collector/http/errors.ts';
import { type Around, createServing, type Serve } from '../collector/http/serving.ts';
import { assertPromisedBy } from './answers.ts';
import { quietLogger } from './quiet-logger.ts';

/** An app with some routes, and everybody who asks is `caller`. What is answered has to be what the contracts say. */
export function servedTo(caller: Caller, add: (serve: Serve) => void, around: Around = {}): Hono<HttpEnv> {
  const app = new Hono<HttpEnv>();
  app.onError((thrown, c) => errorAnswer(c, thrown, quietLogger));
  app.use(async (c, next) => {
    c.set('requestId', 'test');
    await next();
  });
  add(createServing(app, { visitor: caller, authenticate: async () => caller }, around));
  const { request } = app;
  app.request = async (input, init, ...rest) => {
    const answer = await request(input, init, ...rest);
    await assertPromisedBy(init?.method ?? 'GET', String(input), answer);
    return answer;
  };
  return app;
}

/** The same for whoever may do everything. */
export function served(add: (serve: Serve) => void): Hono<HttpEnv> {
  return servedTo(local, add);
}
