import {
  enforcementRelease,
  enforcementShow,
  silenceAdd,
  silenceEnd,
  silenceList,
} from '../api/governance-contract.ts';
import { endSilence, releaseCommit, silenceDrifts } from '../enforcement/measures.ts';
import type { OperatorPorts } from '../enforcement/operator.ts';
import { enforcementView, silenceFields, silenceView } from '../enforcement/view.ts';
import type { Queryable } from '../postgres/pool.ts';
import { readMeasures } from '../postgres/standing-measure-store.ts';
import { actingFor } from './acting.ts';
import type { Serve } from './serving.ts';

/** Silences, and what else holds enforcement up. */
export function addSilencesRoutes(serve: Serve, ports: OperatorPorts, db: Queryable): void {
  serve.json(silenceList, async () => {
    const { silences } = await readMeasures(db, ports.clock.now());
    return { items: silences.map(silenceView) };
  });
  serve.json(silenceAdd, async (asked) => {
    const { for_seconds, reason, ...scope } = asked.body;
    const wish = { scope, forMs: for_seconds * 1_000, reason };
    return silenceFields(await silenceDrifts(actingFor(ports, asked), wish));
  });
  serve.json(silenceEnd, async (asked) => {
    const ended = await endSilence(actingFor(ports, asked), asked.params.id, asked.query.reason);
    return { ...silenceFields(ended), ended: true as const };
  });
  serve.json(enforcementShow, async () => enforcementView(ports.manifest(), await readMeasures(db, ports.clock.now())));
  serve.json(enforcementRelease, async (asked) => {
    const freeze = await releaseCommit(actingFor(ports, asked), asked.body.commit, asked.body.reason);
    return { commit: freeze.commit, released: true as const };
  });
}
