import type { Command } from 'commander';
import { kinds } from '../../common/kinds.ts';
import type { ContainersListOptions } from '../commands/containers-list.ts';
import type { EntriesListOptions } from '../commands/entries-list.ts';
import type { FleetShowOptions } from '../commands/fleet-show.ts';
import type { NodesListOptions } from '../commands/nodes-list.ts';
import { oneOf, type Perform, paged } from './options.ts';

/** The commands about nodes and what they have told. */
export function addFleet(program: Command, perform: Perform): void {
  addNodes(program.command('nodes').description('who may write to the ledger'), perform);
  addShow(program.command('fleet').description('what the nodes have told'), perform);
  addContainers(program.command('containers').description('what runs on the nodes'), perform);
  addEntries(program.command('entries').description('what was put on record'), perform);
  program
    .command('stats')
    .description('how much of everything there is')
    .command('show')
    .description(
      'counts of nodes, containers, open drifts and findings, and of what was watched; size and root of the ledger',
    )
    .action(() => perform(async (context) => (await import('../commands/stats-show.ts')).statsShow(context)));
}

function addNodes(nodes: Command, perform: Perform): void {
  nodes
    .command('token <node>')
    .description('make a single-use join token for a node')
    .action((node: string) =>
      perform(async (context) => (await import('../commands/nodes-token.ts')).nodesToken(context, { node })),
    );
  paged(nodes.command('list'))
    .description('nodes that were ever enrolled, by name')
    .addOption(oneOf('--state <state>', 'which', ['active', 'revoked', 'all'], 'all'))
    .action((options: NodesListOptions) =>
      perform(async (context) => (await import('../commands/nodes-list.ts')).nodesList(context, options)),
    );
  nodes
    .command('revoke <node>')
    .description('end the trust in the key of a node, at once')
    .requiredOption('--reason <text>', 'goes on record')
    .action((node: string, { reason }: { reason: string }) =>
      perform(async (context) => (await import('../commands/nodes-revoke.ts')).nodesRevoke(context, { node, reason })),
    );
}

function addShow(fleet: Command, perform: Perform): void {
  fleet
    .command('show')
    .description('nodes, containers, open drifts and findings: now, or as the ledger knew them at a moment')
    .option('--at <time>', 'such as 2026-11-20T10:00:00Z, "2026-11-20 10:00" (UTC), -15m or "2 hours ago"')
    .option('--size <entries>', 'after the first so many entries, as in a checkpoint')
    .option('--node <node>', 'only this one')
    .action((options: FleetShowOptions) =>
      perform(async (context) => (await import('../commands/fleet-show.ts')).fleetShow(context, options)),
    );
}

function addContainers(containers: Command, perform: Perform): void {
  paged(containers.command('list'))
    .description('containers as they were observed last, by node and id')
    .option('--node <node>', 'only of this one')
    .option('--name <name>', 'only of this name')
    .option('--image <image>', 'only of this image')
    .option('--state <state>', 'only in this state of the engine, such as running or exited')
    .action((options: ContainersListOptions) =>
      perform(async (context) => (await import('../commands/containers-list.ts')).containersList(context, options)),
    );
}

function addEntries(entries: Command, perform: Perform): void {
  paged(entries.command('list'))
    .description('entries of the ledger, newest first; with --json also what they say')
    .option('--author <author>', 'only of this node, or of "collector"')
    .addOption(oneOf('--kind <kind>', 'only of this kind', kinds))
    .option('--from <time>', 'said at this time or later, such as 2026-11-20, "2026-11-20 10:00" (UTC) or -2h')
    .option('--to <time>', 'said before this time')
    .action((options: EntriesListOptions) =>
      perform(async (context) => (await import('../commands/entries-list.ts')).entriesList(context, options)),
    );
}
