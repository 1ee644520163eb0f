import type { Context, MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import { matchedRoutes } from 'hono/route';
import type { Clock } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { answerHeaders, contradictedHeader, requestHeaders } from '../api/headers.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { HttpMetrics } from '../metrics.ts';
import type { HttpEnv } from './env.ts';

/** A caller's own id is kept if it is harmless in logs and headers. */
const acceptableId = /^[A-Za-z0-9._-]{1,64}$/;

/** Gives every request an id, echoed as `X-Request-ID`. */
export function withRequestId(newId: () => string): MiddlewareHandler<HttpEnv> {
  return async (c, next) => {
    const offered = c.req.header('X-Request-ID');
    const id = offered !== undefined && acceptableId.test(offered) ? offered : newId();
    c.set('requestId', id);
    c.header('X-Request-ID', id);
    await next();
  };
}

/**
 * What every answer says to browsers and caches. Below `/api/` nothing is kept unless the route says for how long; a page
 * from elsewhere cannot embed any of it, save where it is asked for by CORS.
 */
export function withSafeHeaders({ hsts }: { readonly hsts: boolean }): MiddlewareHandler<HttpEnv> {
  return async (c, next) => {
    c.header('X-Content-Type-Options', 'nosniff');
    c.header('Cross-Origin-Resource-Policy', 'same-origin');
    c.header('Referrer-Policy', 'no-referrer');
    if (hsts) c.header('Strict-Transport-Security', `max-age=${limits.hstsSeconds}`);
    // Beforehand, so that a route can say otherwise; a header that is added to an answer has it made anew.
    if (c.req.path.startsWith('/api/')) c.header('Cache-Control', 'no-store');
    await next();
  };
}

/**
 * Lets pages of these origins use the API. What a browser asks first is answered here, before anybody is asked for a token;
 * it never sends one by itself, so there are no credentials to allow.
 */
export function withCors(origins: readonly string[]): MiddlewareHandler<HttpEnv> {
  return cors({
    origin: [...origins],
    allowMethods: ['GET', 'POST', 'PATCH', 'DELETE'],
    allowHeaders: ['Authorization', 'Content-Type', ...requestHeaders.map(({ name }) => name)],
    exposeHeaders: answerHeaders.map(({ name }) => name),
    maxAge: limits.corsMaxAgeSeconds,
  });
}

/** Says with every answer once the database was found not to be the one that was published. */
export function withContradiction(ledger: Pick<Ledger, 'contradiction'>): MiddlewareHandler<HttpEnv> {
  return async (c, next) => {
    await next();
    // Afterwards: it may have been found out by this very request.
    const reason = ledger.contradiction?.reason;
    if (reason !== undefined) c.header(contradictedHeader, encodeURIComponent(reason));
  };
}

/**
 * For HEAD, routes answer as for GET. Nobody reads the body of that answer: it is let go of here, or what it is made from,
 * such as a stream of events, would wait for a reader for ever.
 */
export const letBodyGo: MiddlewareHandler<HttpEnv> = async (c, next) => {
  await next();
  if (c.req.method === 'HEAD') await c.res.body?.cancel();
};

/** Counts and times requests by route pattern, never by path: anybody can make up paths. */
export function withMetrics(metrics: HttpMetrics, clock: Clock): MiddlewareHandler<HttpEnv> {
  return async (c, next) => {
    const startedMs = clock.monotonicMs();
    await next();
    const seconds = (clock.monotonicMs() - startedMs) / 1000;
    metrics.observe({ method: c.req.method, route: routeOf(c), status: c.res.status }, seconds);
  };
}

/** The pattern of the route, whoever answered in its place. Middleware matches too, before it and behind it, for any method. */
function routeOf(c: Context<HttpEnv>): string {
  return matchedRoutes(c).findLast(({ method }) => method !== 'ALL')?.path ?? 'unmatched';
}

/** At most `perSecond` requests in any second of the clock, whoever they are from. */
export function atMostPerSecond(perSecond: number, clock: Clock): MiddlewareHandler<HttpEnv> {
  let window = -1;
  let taken = 0;
  return async (_c, next) => {
    const second = Math.floor(clock.monotonicMs() / 1000);
    if (second !== window) [window, taken] = [second, 0];
    taken += 1;
    if (taken > perSecond) {
      throw new AppError('rate_limit.exceeded', `more than ${perSecond} requests per second; try again in a second`, {
        retryable: true,
      });
    }
    await next();
  };
}
