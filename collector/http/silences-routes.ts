import { z } from 'zod';
import { driftKinds } from '../../common/drift-kind.ts';
import { foreignText, nodeName, ownText } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import { endSilence, releaseCommit, silenceDrifts } from '../enforcement/measures.ts';
import type { OperatorPorts } from '../enforcement/operator.ts';
import { enforcementView, silenceFields, silenceView } from '../enforcement/view.ts';
import type { Queryable } from '../postgres/pool.ts';
import { readMeasures } from '../postgres/standing-measure-store.ts';
import { limitBody, readBody } from './body.ts';
import type { Routes } from './env.ts';
import { readQuery } from './query.ts';

const nothing = z.strictObject({});

const wish = z.strictObject({
  node: nodeName.nullable().default(null),
  container: foreignText.min(1).nullable().default(null),
  kind: z.enum(driftKinds).nullable().default(null),
  for_seconds: z
    .int()
    .min(1)
    .max(limits.maxSilenceMs / 1_000),
  reason: ownText,
});

const ending = z.strictObject({ reason: ownText.default('not needed any more') });
const release = z.strictObject({ commit: ownText.min(1), reason: ownText });

/** Silences, and what else holds enforcement up. */
export function addSilencesRoutes(routes: Routes, ports: OperatorPorts, db: Queryable): void {
  routes.get('/api/v1/silences', async (c) => {
    readQuery(c, nothing);
    const { silences } = await readMeasures(db, ports.clock.now());
    return c.json({ items: silences.map(silenceView) });
  });
  routes.post('/api/v1/silences', limitBody, async (c) => {
    const { for_seconds, reason, ...scope } = await readBody(c, wish, 'a silence');
    return c.json(silenceFields(await silenceDrifts(ports, { scope, forMs: for_seconds * 1_000, reason })), 201);
  });
  routes.delete('/api/v1/silences/:id', async (c) => {
    const { reason } = readQuery(c, ending);
    return c.json({ ...silenceFields(await endSilence(ports, c.req.param('id'), reason)), ended: true });
  });
  routes.get('/api/v1/enforcement', async (c) => {
    readQuery(c, nothing);
    return c.json(enforcementView(ports.manifest(), await readMeasures(db, ports.clock.now())));
  });
  routes.post('/api/v1/enforcement/release', limitBody, async (c) => {
    const { commit, reason } = await readBody(c, release, 'a release');
    const freeze = await releaseCommit(ports, commit, reason);
    return c.json({ commit: freeze.commit, released: true });
  });
}
