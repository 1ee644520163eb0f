import { setTimeout as pause } from 'node:timers/promises';
import { exitCodes } from '../../common/exit-codes.ts';
import { printable, printableJson } from '../../common/printable.ts';
import { type FollowedEvent, followEvents } from '../client/follow-events.ts';
import { networkStreams } from '../client/network.ts';
import { writePieces } from '../data/new-file.ts';
import { type CommandContext, optionalNodeName } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { runningServer, serverFor, tokenFor } from './server.ts';
import { createTable } from './table.ts';

export interface EventsFollowOptions {
  readonly node?: string;
  readonly kind?: string;
  readonly severity?: string;
  readonly after?: string;
  readonly recent?: string;
}

/** Shows what is appended to the ledger of a collector that runs, as it happens, until it is stopped. */
export async function eventsFollow(context: CommandContext, options: EventsFollowOptions): Promise<number> {
  const { stderr, stdout, stopRequested } = context;
  const server = (await serverFor(context)) ?? runningServer(context);
  const stopping = new AbortController();
  void stopRequested.then(() => stopping.abort());
  const events = followEvents({
    open: networkStreams(server),
    query: { ...options, node: optionalNodeName(options.node) },
    credentials: async () => ({ Authorization: `Bearer ${await tokenFor(server, context.env)}` }),
    interrupted: (why, after) => {
      const from = after === undefined ? '' : ` after ${after}`;
      stderr.write(`${printable(why)}; going on${printable(from)}\n`);
    },
    pause: (ms, signal) => pause(ms, undefined, { signal }).catch(() => {}),
    random: Math.random,
    signal: stopping.signal,
  });
  await writePieces(stdout, pieces(context, events));
  return exitCodes.done;
}

async function* pieces(context: CommandContext, events: AsyncIterable<FollowedEvent>): AsyncGenerator<string> {
  const table = createTable(context, ['SEVERITY', 'INDEX', 'AT', 'NODE', 'KIND', 'WHAT']);
  for await (const event of events) yield context.json ? printableJson(event) : table.lines([cells(event)]);
}

function cells({ severity, index, at, node, kind, entry }: FollowedEvent): readonly string[] {
  const body = typeof entry === 'object' && entry !== null && 'body' in entry ? entry.body : undefined;
  return [severity, String(index), at, node ?? '-', kind, body === undefined ? '-' : shownCell(JSON.stringify(body))];
}
