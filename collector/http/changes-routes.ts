import pLimit from 'p-limit';
import { changeAnnounce, changeList } from '../api/governance-contract.ts';
import { announceChange, type ChangePorts, changeViews } from '../enforcement/changes.ts';
import type { Queryable } from '../postgres/pool.ts';
import { readMeasures } from '../postgres/standing-measure-store.ts';
import { actingFor } from './acting.ts';
import type { Serve } from './serving.ts';

/** Changes that somebody has announced. */
export function addChangesRoutes(serve: Serve, ports: ChangePorts, db: Queryable): void {
  // Of two that come at once the second has to see the first.
  const oneAtATime = pLimit(1);
  serve.json(changeList, async ({ query: { state } }) => {
    const nowMs = ports.clock.now();
    const { announcements } = await readMeasures(db, nowMs);
    return { items: changeViews(announcements, nowMs, state) };
  });
  serve.json(changeAnnounce, async (asked) => {
    const { text, approval } = asked.body;
    const announced = await oneAtATime(() => announceChange(actingFor(ports, asked), text, approval));
    const { index, node, container, image, until } = announced;
    return { index, node, container, becomes: image, before: until, approver: approval.approver };
  });
}
