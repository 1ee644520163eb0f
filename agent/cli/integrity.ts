import { type Command, InvalidArgumentError } from 'commander';
import { exitCodes } from '../../common/exit-codes.ts';
import { limits } from '../../common/limits.ts';
import { systemClock } from '../clock.ts';
import { asOwner, type CliContext, type GlobalOptions, nodeMeant, type Perform } from '../commands/context.ts';
import type { IntegrityWorld, ReportFiles } from '../commands/integrity.ts';
import type { AcceptWish } from '../commands/integrity-accept.ts';
import type { RestoreOptions } from '../commands/integrity-restore.ts';
import type { AgentSettings } from '../config.ts';
import { writeDurably } from '../data/durable-file.ts';
import type { WriteNamed } from '../data/owner.ts';

interface IntegrityFlags extends ReportFiles {
  readonly node?: string;
  readonly store?: readonly string[];
  readonly threads?: number;
  readonly fromStart?: boolean;
}

/** The commands about complete checks, and about what they keep. */
export function addIntegrity(integrity: Command, context: CliContext, program: Command, perform: Perform): void {
  const worldOf = (settings: AgentSettings, writeFile: WriteNamed = writeDurably) => {
    const { stdout, stderr, terminal, confirm } = context;
    const json = program.opts<GlobalOptions>().json ?? false;
    return { settings, clock: systemClock, json, stdout, stderr, writeFile, terminal, confirm };
  };
  const owned = asOwner(perform);
  const withFiles = (command: Command) =>
    command
      .option('--html <file>', 'also write the report there, as one self-contained page')
      .option('--report <file>', 'also write the report there, as JSON');
  withFiles(integrity.command('run'))
    .description('check sigil stores completely, now; exit code 0 clean, 1 findings, 2 not all could be checked')
    .option('--store <name>', 'only this store; may be given several times', (name: string, others: string[] = []) => [
      ...others,
      name,
    ])
    .option('--threads <n>', 'threads that check a store, each on a core of its own (default: 1)', requireThreads)
    .option('--from-start', 'read everything again, and do not go on with a run that was cut short')
    .option('--node <name>', 'name of this node in the report (default: the enrolled name, or the host name)')
    .action(({ store, ...options }: IntegrityFlags) =>
      perform(async (settings) => {
        const { integrityRun } = await import('../commands/integrity.ts');
        const { asOwnerWithFiles } = await import('../data/owner.ts');
        const node = await nodeMeant(options.node, settings.dataDir, context.hostname);
        const wish = { ...options, node, ...(store && { stores: store }) };
        return asOwnerWithFiles(settings.dataDir, (write) => integrityRun(worldOf(settings, write), wish));
      }),
    );
  integrity
    .command('reports')
    .description('the reports that are kept, newest first')
    .action(() =>
      owned(async (settings) => {
        const { integrityReports } = await import('../commands/integrity.ts');
        return integrityReports(worldOf(settings));
      }),
    );
  withFiles(integrity.command('show <id>'))
    .description('one of them')
    .action((id: string, options: ReportFiles) =>
      perform(async (settings) => {
        const { integrityShow } = await import('../commands/integrity.ts');
        const { asOwnerWithFiles } = await import('../data/owner.ts');
        return asOwnerWithFiles(settings.dataDir, (write) => integrityShow(worldOf(settings, write), id, options));
      }),
    );
  integrity
    .command('accept')
    .description(
      'a sigil was deleted, or set back, on purpose: the running agent puts that on record, and finds it no more',
    )
    .option('--store <name>', 'the sigil store (default: the only one there is)')
    .requiredOption('--key <key>', 'the key of a vanished or rolled_back finding, as reports show it')
    .requiredOption('--reason <text>', 'why, for the ledger')
    .action((options: Omit<AcceptWish, 'store'> & { store?: string }) =>
      owned(async (settings, show) => {
        const { acceptChange, formatAcceptance } = await import('../commands/integrity-accept.ts');
        const { storeOrOnly } = await import('../commands/integrity.ts');
        const wish = { ...options, store: storeOrOnly(settings, options.store) };
        show(await acceptChange(settings, wish, systemClock.now()), formatAcceptance);
        return exitCodes.done;
      }),
    );
  addSnapshots(integrity, worldOf, perform);
}

function addSnapshots(
  integrity: Command,
  worldOf: (settings: AgentSettings) => IntegrityWorld,
  perform: Perform,
): void {
  integrity
    .command('snapshots')
    .description('the last good states that are kept, newest first')
    .option('--store <name>', 'only of this store')
    .action(({ store }: { store?: string }) =>
      perform(async (settings) => {
        const { integritySnapshots } = await import('../commands/integrity-restore.ts');
        return integritySnapshots(worldOf(settings), store);
      }),
    );
  integrity
    .command('restore')
    .description('write a record out as it last was good; puts it back into its store only with --apply')
    .option('--store <name>', 'the store it is of (default: the only one there is)')
    .requiredOption('--key <key>', 'its key, as reports show it')
    .option('--from <snapshot>', 'a snapshot (default: the newest that has the record passing all checks)')
    .option('--to <file>', 'write the bytes of the record there, never over a file that exists; - is standard output')
    .option('--apply', 'put it back into its store, which nobody may have open')
    .option('--yes', 'with --apply: do not ask')
    .action((options: Omit<RestoreOptions, 'store'> & { store?: string }) =>
      perform(async (settings) => {
        const { integrityRestore } = await import('../commands/integrity-restore.ts');
        const { storeOrOnly } = await import('../commands/integrity.ts');
        const store = storeOrOnly(settings, options.store);
        return integrityRestore(worldOf(settings), { ...options, store });
      }),
    );
}

function requireThreads(text: string): number {
  const threads = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (threads >= 1 && threads <= limits.maxScanThreads) return threads;
  throw new InvalidArgumentError(`It is not a number from 1 to ${limits.maxScanThreads}.`);
}
