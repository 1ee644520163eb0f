import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import type { JobStatus } from '../../common/job-words.ts';
import { sha256Named } from '../../common/lineage.ts';
import { jobList, jobRequest, jobShow } from '../api/enforcements-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import type { EnforcementAction } from '../jobs/actions.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { type ListOptions, showList } from './list.ts';

export interface EnforcementsListOptions extends ListOptions {
  readonly artifact?: string;
  readonly action?: EnforcementAction;
  readonly status?: JobStatus;
}

export interface EnforcementRequestOptions {
  readonly artifact: string;
  readonly action: EnforcementAction;
  readonly target: string;
  readonly reason: string;
}

type Enforcement = AnswerOf<typeof jobList>['items'][number];
type Story = AnswerOf<typeof jobShow>;

/** Enforcements of artifacts, newest first. */
export function enforcementsList(context: CommandContext, options: EnforcementsListOptions): Promise<number> {
  const { artifact, action, status } = options;
  const query = { artifact_id: artifact === undefined ? undefined : requireHash(artifact), action, status };
  return showList(context, options, {
    page: (api, at) => api.call(jobList, { query: { ...query, ...at } }),
    heading: ['ENFORCEMENT', 'REQUESTED', 'ACTION', 'TARGET', 'STATUS', 'ACTOR', 'ARTIFACT', 'ERROR'],
    cells: enforcementCells,
    none: 'no such enforcements',
  });
}

function enforcementCells(job: Enforcement): readonly string[] {
  const { enforcement_id, requested_at, action, target, status, actor, artifact_id, error_msg } = job;
  const texts = [shownCell(actor), artifact_id, shownCell(error_msg ?? '-')];
  return [enforcement_id, requested_at, action, shownCell(target), status, ...texts];
}

/** One enforcement with its whole way. */
export function enforcementsShow(context: CommandContext, id: string): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const story = await api.call(jobShow, { params: { id } });
    show(context, { ...story, ...contradictedField() }, () => formatEnforcement(story));
    return exitCodes.done;
  });
}

/** Asks for an enforcement. */
export function enforcementsRequest(context: CommandContext, options: EnforcementRequestOptions): Promise<number> {
  const { artifact, ...wish } = options;
  const body = { artifact_id: requireHash(artifact), ...wish };
  return withApi(context, async ({ api, contradictedField }) => {
    const taken = await api.call(jobRequest, { body });
    show(context, { ...taken, ...contradictedField() }, () => takenText(taken));
    return exitCodes.done;
  });
}

/** @throws AppError `validation.request`. */
function requireHash(text: string): string {
  const hash = sha256Named(text);
  if (hash !== undefined) return hash;
  throw new AppError('validation.request', `--artifact ${text}: a SHA-256, 64 hex digits`);
}

export function takenText({ enforcement_id, status }: AnswerOf<typeof jobRequest>): string {
  return `enforcement ${enforcement_id}: ${status}\n`;
}

function formatEnforcement(story: Story): string {
  const lines = [
    `enforcement ${story.enforcement_id}: ${story.status}`,
    ...jobLines(story),
    '',
    ...story.inflow_trace.map(stepText),
  ];
  return `${lines.join('\n')}\n`;
}

/** What is asked for, a line each. */
export function jobLines(job: Enforcement): readonly string[] {
  const { action, target, artifact_id, actor, reason, retry_of, tx_id, error_msg } = job;
  return [
    `  ${action} ${shownCell(target)}`,
    `  artifact     ${artifact_id}`,
    `  asked by     ${shownCell(actor)}${reason === '' ? '' : `: ${shownCell(reason)}`}`,
    ...(retry_of === null ? [] : [`  tries again  ${retry_of}`]),
    ...(tx_id === null ? [] : [`  transaction  ${tx_id}`]),
    ...(error_msg === null ? [] : [`  error        ${shownCell(error_msg)}`]),
  ];
}

function stepText(step: Story['inflow_trace'][number]): string {
  switch (step.step) {
    case 'requested':
      return `${step.at}  entry ${step.ledger_entry}: asked for by ${shownCell(step.actor)}`;
    case 'attempt':
      return attemptText(step);
    default:
      return `${step.at}  entry ${step.ledger_entry}: ${step.outcome}`;
  }
}

/** One try, or several that only waited. */
export function attemptText({ begun_at, n, runs, outcome, error }: Story['attempts'][number]): string {
  const times = runs === 1 ? '' : `, ${runs} looks`;
  return `${begun_at}  try ${n}${times}: ${outcome ?? 'under way'}${error === null ? '' : `: ${shownCell(error)}`}`;
}
