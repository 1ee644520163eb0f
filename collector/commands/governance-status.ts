import { exitCodes } from '../../common/exit-codes.ts';
import { governanceStatus as contract } from '../api/governance-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, optionalNodeName, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';

type Status = AnswerOf<typeof contract>;

/** How far orders may go now. */
export function governanceStatus(context: CommandContext, options: { readonly node?: string }): Promise<number> {
  const query = { node: optionalNodeName(options.node) };
  return withApi(context, async ({ api, contradictedField }) => {
    const status = await api.call(contract, { query });
    show(context, { ...status, ...contradictedField() }, () => formatStatus(status));
    return exitCodes.done;
  });
}

function formatStatus({ commit, mode, frozen, limits, rules, windows, silences, nodes }: Status): string {
  if (commit === null || limits === null) return 'no manifest is in force: nothing is ordered\n';
  const lines = [
    `commit ${shownCell(commit)}, mode ${mode ?? 'unknown'}${frozen ? ': FROZEN, nothing is ordered by it' : ''}`,
    `  on one node at most ${limits.daily_limit} orders in 24 hours, ${limits.cooldown_seconds} s between two for a container, up to ${limits.blast_radius_percent} % of its containers`,
    ...rules.map(ruleLine),
    ...windows.map(({ name, open }) => `window ${shownCell(name)}: ${open ? 'open' : 'closed'}`),
    `silences: ${silences.length}`,
    ...nodes.items.flatMap(nodeLines),
    ...(nodes.next_cursor === null ? [] : ['there are more nodes; --node shows one']),
  ];
  return `${lines.join('\n')}\n`;
}

function ruleLine({ drift_kind, rule, ...does }: Status['rules'][number]): string {
  const { action, mode, grace_seconds, approvals_needed, held_by_window, silences } = does;
  const what = action === null ? 'on record, no more' : `${action} after ${grace_seconds} s, ${mode}`;
  const holds = [
    ...(approvals_needed > 0 ? [`${approvals_needed} approvals`] : []),
    ...(held_by_window === null ? [] : [`held by window ${shownCell(held_by_window)}`]),
    ...(silences > 0 ? [`${silences} silences`] : []),
  ];
  return `rule ${shownCell(rule)}: ${drift_kind}: ${[what, ...holds].join('; ')}`;
}

function nodeLines(about: Status['nodes']['items'][number]): readonly string[] {
  const { node, commit, used_today, daily_limit, free_at, cooldowns } = about;
  const follows = commit === null ? 'follows no commit' : `follows ${shownCell(commit)}`;
  const room = free_at === null ? '' : `, room again ${free_at}`;
  return [
    `node ${node}: ${follows}, ${used_today} of ${daily_limit} orders used${room}`,
    ...cooldowns.map(({ container, until }) => `  ${shownCell(container)} is left alone until ${until}`),
  ];
}
