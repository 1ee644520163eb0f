import { bodyLimit } from 'hono/body-limit';
import pLimit from 'p-limit';
import { z } from 'zod';
import type { Clock } from '../../common/clock.ts';
import { type EnrolRequest, enrolPath, enrolRequest } from '../../common/enrol.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { enrolNode, type FleetPorts } from '../fleet/enrolment.ts';
import type { Routes } from './env.ts';
import { atMostPerSecond } from './middleware.ts';

const limitBody = bodyLimit({
  maxSize: limits.maxRequestBodyBytes,
  onError: () => {
    const limitBytes = limits.maxRequestBodyBytes;
    throw new AppError('validation.too_large', `the body is over ${limitBytes} bytes`, { details: { limitBytes } });
  },
});

/** Open to everybody: the join token in the body is the credential. */
export function addEnrolRoutes(routes: Routes, fleet: FleetPorts, clock: Clock): void {
  // Looking who holds the node and the key, and putting it on record, are two steps: of requests that come at once each
  // has to see what the one before it did.
  const oneAtATime = pLimit(1);
  routes.post(enrolPath, atMostPerSecond(limits.maxEnrolmentsPerSecond, clock), limitBody, async (c) => {
    const request = parseEnrolment(await c.req.text());
    return c.json(await oneAtATime(() => enrolNode(fleet, request)));
  });
}

function parseEnrolment(text: string): EnrolRequest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new AppError('validation.request', 'the body is not JSON');
  }
  const parsed = enrolRequest.safeParse(json);
  if (parsed.success) return parsed.data;
  const fields = [...new Set(parsed.error.issues.map((issue) => issue.path.join('.') || '(body)'))];
  throw new AppError('validation.request', `not an enrolment request: ${z.prettifyError(parsed.error)}`, {
    details: { fields },
  });
}
