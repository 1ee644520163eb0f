import { exitCodes } from '../../common/exit-codes.ts';
import { sha256Named } from '../../common/lineage.ts';
import { explainShow } from '../api/artifacts-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, requireNodeName, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';

type Story = AnswerOf<typeof explainShow>;

/** Where a container or an artifact comes from, and what happened to it. 64 digits without a node are an artifact's hash. */
export function explainCommand(
  context: CommandContext,
  subject: string,
  options: { readonly node?: string },
): Promise<number> {
  const node = options.node === undefined ? undefined : requireNodeName(options.node);
  const artifact = node === undefined ? sha256Named(subject) : undefined;
  const query = artifact === undefined ? { container: subject, node } : { artifact };
  return withApi(context, async ({ api, contradictedField }) => {
    const story = await api.call(explainShow, { query });
    show(context, { ...story, ...contradictedField() }, () => formatStory(story));
    return exitCodes.done;
  });
}

function formatStory({ containers, artifacts, commits, steps, complete }: Story): string {
  const lines = [
    ...containers.flatMap(containerLines),
    ...(artifacts.length === 0 ? ['no artifact on record has its image'] : artifacts.flatMap(artifactLines)),
    ...commits.map(({ commit, adopted }) => `manifest commit ${shownCell(commit)}${adoptedText(adopted)}`),
    '',
    ...steps.map(
      ({ at, index, author, kind, what }) =>
        `${at ?? '-'.padEnd(24)}  entry ${index}  ${author}  ${shownCell(kind)}: ${shownCell(what)}`,
    ),
    ...(complete ? [] : ['there is more than is told here: GET /api/v1/entries has all of it']),
  ];
  return `${lines.join('\n')}\n`;
}

function containerLines({ node, name, seen }: Story['containers'][number]): readonly string[] {
  const head = `container ${shownCell(name)} on ${node}`;
  if (seen === null) return [`${head}: gone`];
  const { id, state, image, image_id } = seen;
  return [`${head}: ${state}`, `  id     ${id}`, `  image  ${shownCell(image)} (${shownCell(image_id)})`];
}

function artifactLines({ artifact_id, name, score, origin, runs_on }: Story['artifacts'][number]): readonly string[] {
  const { commit, builder, signature, parents } = origin;
  return [
    `artifact ${artifact_id}${name === null ? '' : ` (${shownCell(name)})`}${score === null ? '' : `, score ${score.total}`}`,
    `  commit     ${commit === null ? 'not known' : shownCell(commit)}`,
    `  builder    ${builder === null ? 'not known' : shownCell(builder)}`,
    `  signature  ${signature}`,
    ...(parents ?? []).map((parent) => {
      const called = parent.name === null ? '' : ` (${shownCell(parent.name)})`;
      return `  made of    ${parent.artifact_id}${called}${parent.is_known ? '' : ', which nobody registered'}`;
    }),
    ...runs_on.map(({ node, container, state, matched_by }) => {
      const only = matched_by === 'image' ? ', by the name of its image only' : '';
      return `  runs       ${shownCell(container)} on ${node}: ${state}${only}`;
    }),
  ];
}

function adoptedText(adopted: Story['commits'][number]['adopted']): string {
  if (adopted.length === 0) return ': no adoption of it is known';
  return adopted.map(({ node, index }) => `, adopted by ${node} (entry ${index})`).join('');
}
