import pLimit from 'p-limit';
import type { Clock } from '../../common/clock.ts';
import { enrolPath } from '../../common/enrol.ts';
import { limits } from '../../common/limits.ts';
import { enrol } from '../api/service-contract.ts';
import { enrolNode, type FleetPorts } from '../fleet/enrolment.ts';
import type { Routes } from './env.ts';
import { atMostPerSecond } from './middleware.ts';
import type { Serve } from './serving.ts';

/** Open to everybody: the join token in the body is the credential. */
export function addEnrolRoutes(routes: Routes, serve: Serve, fleet: FleetPorts, clock: Clock): void {
  // Looking who holds the node and the key, and putting it on record, are two steps: of requests that come at once each
  // has to see what the one before it did.
  const oneAtATime = pLimit(1);
  routes.use(enrolPath, atMostPerSecond(limits.maxEnrolmentsPerSecond, clock));
  serve.json(enrol, ({ body }) => oneAtATime(() => enrolNode(fleet, body)));
}
