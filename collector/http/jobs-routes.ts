import { AppError } from '../../common/errors.ts';
import { count, hex64 } from '../../common/fields.ts';
import { breakerList, breakerReset } from '../api/breakers-contract.ts';
import { deadLetterList, deadLetterResolve, deadLetterRetry, deadLetterShow } from '../api/dead-letters-contract.ts';
import { jobList, jobRequest, jobShow } from '../api/enforcements-contract.ts';
import { breakerView, resetBreaker } from '../jobs/breakers.ts';
import { type DeadLetter, findDeadLetter, resolveDeadLetter, retryDeadLetter } from '../jobs/dead-letters.ts';
import { type EnforcementTaken, requestEnforcement } from '../jobs/request.ts';
import type { Job } from '../jobs/runs.ts';
import { deadLetterStory, deadLetterView, jobStory, jobView } from '../jobs/view.ts';
import { listDeadLetters, listEnforcements } from '../postgres/job-store.ts';
import type { Db } from '../postgres/pool.ts';
import type { Working as AllWorking } from '../wiring/working.ts';
import { actingFor } from './acting.ts';
import { type Paging, page } from './paging.ts';
import type { Serve } from './serving.ts';

const jobs: Paging<Job, number, ReturnType<typeof jobView>> = {
  list: 'enforcements',
  key: count,
  keyOf: ({ requested }) => requested.index,
  show: jobView,
};

const deadLetters: Paging<DeadLetter, number, ReturnType<typeof deadLetterView>> = {
  list: 'dead-letters',
  key: count,
  keyOf: ({ result, requested }) => result?.index ?? requested.index,
  show: deadLetterView,
};

type Working = Pick<AllWorking, 'requests' | 'deadLetters' | 'breakers' | 'store'>;

export interface JobSources {
  readonly db: Db;
  /** What people ask of jobs. */
  readonly working: Working;
}

/** Enforcement jobs, those that failed for good, and the breakers of the services they need. */
export function addJobsRoutes(serve: Serve, { working, db }: JobSources): void {
  serve.json(jobRequest, async ({ body, caller: { actor } }) => {
    const { artifact_id: artifact, action, target, reason } = body;
    return told(await requestEnforcement(working.requests, { artifact, action, target, reason, actor }));
  });
  serve.json(jobList, async ({ query: { artifact_id: artifact, action, status, ...rest } }) =>
    page(jobs, rest, (at) => listEnforcements(db, { artifact, action, status }, at)),
  );
  serve.json(jobShow, async ({ params: { id } }) => {
    const found = hex64.safeParse(id).success ? await working.store.job(id) : undefined;
    if (found === undefined) throw new AppError('resource.not_found', `there is no enforcement ${id.slice(0, 64)}`);
    return jobStory(found);
  });
  addDeadLetterRoutes(serve, working, db);
  addBreakerRoutes(serve, working);
}

function addDeadLetterRoutes(serve: Serve, { deadLetters: ports }: Working, db: Db): void {
  serve.json(deadLetterList, async ({ query: { open, ...rest } }) =>
    page(deadLetters, rest, (at) =>
      listDeadLetters(db, { open: open === undefined ? undefined : open === 'true' }, at),
    ),
  );
  serve.json(deadLetterShow, async ({ params }) => deadLetterStory(await findDeadLetter(ports, params.id)));
  serve.json(deadLetterRetry, async ({ params, caller }) =>
    told(await retryDeadLetter(ports, params.id, caller.actor)),
  );
  serve.json(deadLetterResolve, async ({ params, body: { reason }, caller: { actor } }) =>
    deadLetterStory(await resolveDeadLetter(ports, params.id, { actor, reason })),
  );
}

function addBreakerRoutes(serve: Serve, { breakers: ports }: Working): void {
  serve.json(breakerList, async () => {
    const nowMs = await ports.store.now();
    return { items: (await ports.store.list()).map((one) => breakerView(one, nowMs)) };
  });
  serve.json(breakerReset, (asked) => resetBreaker(actingFor(ports, asked), asked.params.service));
}

function told({ enforcementId, status }: EnforcementTaken) {
  return { enforcement_id: enforcementId, status };
}
