import type { Context, MiddlewareHandler } from 'hono';
import { matchedRoutes } from 'hono/route';
import type { Clock } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { type OperatorTokenStore, requireOperator } from '../auth/operator-token.ts';
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
    c.header('X-Content-Type-Options', 'nosniff');
    await next();
  };
}

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

/** Lets nobody pass without a valid operator token. */
export function operatorsOnly(store: OperatorTokenStore): MiddlewareHandler<HttpEnv> {
  return async (c, next) => {
    await requireOperator(c.req.header('Authorization'), store);
    await next();
  };
}

/** Leaves what is below `prefix` open to everybody, and everything else to `gate`. */
export function openBelow(prefix: string, gate: MiddlewareHandler<HttpEnv>): MiddlewareHandler<HttpEnv> {
  // The path is the one that routes are matched by: what passes here can only end up at a route below the prefix.
  return (c, next) => (c.req.path.startsWith(prefix) ? next() : gate(c, next));
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
