import { exitCodes } from '../../common/exit-codes.ts';
import { artifactShow, artifactSweep } from '../api/artifacts-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';

type Story = AnswerOf<typeof artifactShow>;

/** One artifact with everything that was said of it. */
export function artifactShowCommand(context: CommandContext, hash: string): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const story = await api.call(artifactShow, { params: { id: hash } });
    show(context, { ...story, ...contradictedField() }, () => formatArtifact(story));
    return exitCodes.done;
  });
}

function formatArtifact(story: Story): string {
  const { artifact_id, name, kind, score, created_at, lineage, parts, trend, registrations } = story;
  const lines = [
    `artifact ${artifact_id}`,
    `  ${name === null ? 'without a name' : shownCell(name)}${kind === null ? '' : `, ${kind}`}, on record since ${created_at}`,
    ...Object.entries(lineage).map(([key, value]) => `  ${shownCell(key)}: ${shownCell(JSON.stringify(value))}`),
    score === null ? 'not scored yet' : `score ${score.total}, of ${score.at} (entry ${score.index})`,
    ...parts.map(({ part, value, weight }) => `  ${part.padEnd(10)}  ${value ?? 'not known'}  (weight ${weight})`),
    `four weeks: ${trend.weeks.map(({ mean }) => mean ?? '-').join('  ')}${changeText(trend)}`,
    'registered:',
    ...registrations.map(({ index, at, actor }) => `  ${at}  entry ${index}: by ${shownCell(actor)}`),
  ];
  return `${lines.join('\n')}\n`;
}

function changeText({ change }: Story['trend']): string {
  return change === null || change === 0 ? '' : `  (${change > 0 ? '+' : ''}${change})`;
}

/** Scores what is new or has changed. */
export function sweepOnce(context: CommandContext): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const done = await api.call(artifactSweep, {});
    const { swept, looked, scored, requested } = done;
    const text = swept
      ? `${looked} looked at, ${scored} scored, ${requested} enforcements asked for\n`
      : 'nothing done: another sweep is under way\n';
    show(context, { ...done, ...contradictedField() }, () => text);
    return exitCodes.done;
  });
}
