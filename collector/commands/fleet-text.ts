import { amount } from '../../common/amount.ts';
import type { fleetShow } from '../api/fleet-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { shownCell } from './ledger-replay.ts';
import { formatTable } from './table.ts';

/** Without what belongs to a page. */
export type Fleet = Pick<AnswerOf<typeof fleetShow>, 'as_of' | 'items'>;
type FleetNode = Fleet['items'][number];
type FleetContainer = FleetNode['containers'][number];
type FleetDrift = FleetNode['drifts'][number];
type FleetFinding = FleetNode['findings'][number];

const shownIdChars = 12;

/** The fleet for people: the moment, then each node with what it last saw. */
export function formatFleet({ as_of, items }: Fleet): string {
  const { size, received_at, root, source } = as_of;
  const told = source === 'entries' ? 'told by the entries themselves' : 'the present, as the projections have it';
  const head = `${amount(size, 'entry', 'entries')}, the last received at ${received_at}; ${told}\nroot ${root}\n`;
  if (items.length === 0) return `${head}\nno node was enrolled by then\n`;
  return head + items.map(formatNode).join('');
}

function formatNode(node: FleetNode): string {
  const { containers, drifts, findings } = node;
  return [
    `\n${shownCell(node.node)}  ${formatState(node)}\n`,
    ...aboutNode(node).map((line) => `  ${shownCell(line)}\n`),
    section(byName(containers), ['CONTAINER', 'STATE', 'HEALTH', 'IMAGE', 'ID'], containerCells),
    section(drifts, ['DRIFT', 'CONTAINER', 'SINCE', 'DIFFERENCES'], driftCells),
    section(findings, ['FINDING', 'STORE', 'SINCE', 'DETAIL'], findingCells),
  ].join('');
}

function formatState({ state, revoked_at, last }: FleetNode): string {
  const since = revoked_at === null ? '' : ` since ${revoked_at}`;
  return `${state}${since}, last entry ${last === null ? 'never' : `${last.index} at ${last.at}`}`;
}

function aboutNode({ agent, report, containers, drifts, findings }: FleetNode): string[] {
  const lines: string[] = [];
  if (agent !== null) lines.push(`agent ${agent.version} on ${agent.hostname}, started ${agent.started_at}`);
  if (report !== null) {
    const { coverage, minute, unobserved, commit } = report;
    const missed = unobserved === 0 ? '' : `, ${amount(unobserved, 'container')} not observed`;
    lines.push(`coverage ${coverage} at ${minute}${missed}, against ${commit ?? 'no desired state'}`);
  }
  lines.push(
    [
      amount(containers.length, 'container'),
      amount(drifts.length, 'open drift'),
      amount(findings.length, 'finding'),
    ].join(', '),
  );
  return lines;
}

function section<T>(rows: readonly T[], heading: readonly string[], cells: (row: T) => readonly string[]): string {
  if (rows.length === 0) return '';
  // Values come from nodes.
  const table = formatTable([heading, ...rows.map((row) => cells(row).map(shownCell))]);
  return table.replace(/^/gm, '    ').trimEnd().concat('\n');
}

function byName(containers: readonly FleetContainer[]): readonly FleetContainer[] {
  return [...containers].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function containerCells({ name, state, health, image, id, exit_code }: FleetContainer): readonly string[] {
  const ended = state === 'exited' || state === 'dead';
  return [name, ended ? `${state} (${exit_code})` : state, health, image, id.slice(0, shownIdChars)];
}

function driftCells({ kind, container, opened_at, differences }: FleetDrift): readonly string[] {
  const parts = differences.map(({ field, desired, observed }) => `${field}: ${desired ?? '-'} -> ${observed ?? '-'}`);
  return [kind, container, opened_at, parts.join('; ')];
}

function findingCells({ check, store, opened_at, finding }: FleetFinding): readonly string[] {
  const { key, file, offset, detail } = finding;
  const where = key ?? (offset === null ? file : `${file} at ${offset}`);
  return [check, store, opened_at, where === null ? detail : `${where}: ${detail}`];
}
