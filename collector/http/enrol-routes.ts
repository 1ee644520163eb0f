import pLimit from 'p-limit';
import type { Clock } from '../../common/clock.ts';
import { enrolPath, enrolRequest } from '../../common/enrol.ts';
import { limits } from '../../common/limits.ts';
import { enrolNode, type FleetPorts } from '../fleet/enrolment.ts';
import { limitBody, readBody } from './body.ts';
import type { Routes } from './env.ts';
import { atMostPerSecond } from './middleware.ts';

/** Open to everybody: the join token in the body is the credential. */
export function addEnrolRoutes(routes: Routes, fleet: FleetPorts, clock: Clock): void {
  // Looking who holds the node and the key, and putting it on record, are two steps: of requests that come at once each
  // has to see what the one before it did.
  const oneAtATime = pLimit(1);
  routes.post(enrolPath, atMostPerSecond(limits.maxEnrolmentsPerSecond, clock), limitBody, async (c) => {
    const request = await readBody(c, enrolRequest, 'an enrolment request');
    return c.json(await oneAtATime(() => enrolNode(fleet, request)));
  });
}
