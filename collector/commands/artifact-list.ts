import { AppError } from '../../common/errors.ts';
import { artifactList } from '../api/artifacts-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import type { CommandContext } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { type ListOptions, showList } from './list.ts';

export interface ArtifactListOptions extends ListOptions {
  readonly name?: string;
  readonly image?: string;
  readonly commit?: string;
  readonly scoreBelow?: string;
  readonly scoreAtLeast?: string;
}

type Artifact = AnswerOf<typeof artifactList>['items'][number];

/** Artifacts on record, newest first. */
export function artifactsList(context: CommandContext, options: ArtifactListOptions): Promise<number> {
  const { name, image, commit } = options;
  const scores = {
    score_below: requireScore('--score-below', options.scoreBelow),
    score_at_least: requireScore('--score-at-least', options.scoreAtLeast),
  };
  return showList(context, options, {
    page: (api, at) => api.call(artifactList, { query: { name, image, commit, ...scores, ...at } }),
    heading: ['ARTIFACT', 'REGISTERED', 'KIND', 'NAME', 'SCORE', 'COMMIT'],
    cells: artifactCells,
    none: 'no such artifacts',
  });
}

/** @throws AppError `validation.request`. */
function requireScore(option: string, text: string | undefined): string | undefined {
  if (text === undefined || /^(0(\.[0-9]{1,10})?|1(\.0{1,10})?)$/.test(text)) return text;
  throw new AppError('validation.request', `${option} ${text}: a number from 0 to 1, such as 0.3`);
}

/** Whole, since it is what other commands take. */
function artifactCells({ artifact_id, registered_at, kind, name, score, lineage }: Artifact): readonly string[] {
  const { commit } = lineage;
  return [
    artifact_id,
    registered_at,
    kind ?? '-',
    name === null ? '-' : shownCell(name),
    score === null ? '-' : String(score.total),
    typeof commit === 'string' ? shownCell(commit) : '-',
  ];
}
