import { Command, CommanderError } from 'commander';
import { type AppError, toAppError } from '../common/errors.ts';
import { exitCodeOf, exitCodes } from '../common/exit-codes.ts';
import { printable, printableJson, printableLines } from '../common/printable.ts';
import { settingsOf } from '../common/settings/command-line.ts';
import { formatSettings } from '../common/settings.ts';
import { version } from '../common/version.ts';
import { addAlerts } from './alerts-cli.ts';
import { addArtifact } from './artifact-cli.ts';
import { addChanges } from './changes-cli.ts';
import type { CommandContext, CommandOutput } from './commands/context.ts';
import type { FleetShowOptions } from './commands/fleet-show.ts';
import type { EraseOptions } from './commands/ledger-erase.ts';
import type { VerifyOptions } from './commands/ledger-verify.ts';
import type { ManifestCheckOptions } from './commands/manifest-check.ts';
import type { BacktestOptions } from './commands/policy-backtest.ts';
import type { VerifyWorld } from './commands/verify.ts';
import { collectorSettings } from './config.ts';
import { addDesired } from './desired-cli.ts';
import { addEnforcement } from './enforcement-cli.ts';
import { addIntegrity } from './integrity-cli.ts';

/** The world outside the command line. */
export interface CliWorld {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: CommandOutput;
  readonly stderr: CommandOutput;
  readonly readFile: (path: string) => string;
  /** Resolves with the reason once the program is asked to stop. */
  readonly stopRequested: Promise<string>;
}

interface GlobalOptions {
  readonly config?: string;
  readonly dataDir?: string;
  readonly printConfig?: boolean;
  readonly json?: boolean;
}

type Action = (context: CommandContext) => Promise<number>;
type Perform = (action: Action) => Promise<void>;
/** For commands that need no settings, so that none of them can be wrong. */
type PerformAlone = (action: (world: VerifyWorld & Pick<CliWorld, 'env'>) => Promise<number>) => Promise<void>;

/** Runs one command line and answers with the exit code. The one place where a command's error becomes text. */
export async function runCli(world: CliWorld): Promise<number> {
  let exitCode: number = exitCodes.done;
  const program = new Command('sigilwatch-collector').exitOverride().configureOutput({
    writeOut: (text) => world.stdout.write(text),
    writeErr: (text) => world.stderr.write(text),
  });
  const perform: Perform = async (action) => {
    exitCode = await withSettings(world, program.opts<GlobalOptions>(), action);
  };
  addCommands(program, perform);
  const performAlone: PerformAlone = async (action) => {
    exitCode = await action({ ...world, json: program.opts<GlobalOptions>().json === true });
  };
  addVerify(program, performAlone);
  addArtifact(program.command('artifact').description('what was built, known by its SHA-256'), performAlone);
  addManifest(program.command('manifest').description('what should run'), performAlone);
  try {
    await program.parseAsync(world.argv, { from: 'user' });
    return exitCode;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    return tell(world, toAppError(thrown), program.opts<GlobalOptions>().json === true);
  }
}

function tell({ stderr }: CliWorld, error: AppError, json: boolean): number {
  const { code, message, details } = error;
  stderr.write(json ? printableJson({ error_code: code, message, details }) : `${code}: ${toldLines(error)}\n`);
  // A mistake of ours: the stack is for whoever reports it.
  if (code === 'internal.error' && error.cause instanceof Error) stderr.write(`${error.cause.stack}\n`);
  return exitCodeOf(error);
}

/** Settings are the operator's own; in what comes from elsewhere the end of a line may begin one that looks like ours. */
function toldLines({ code, message }: AppError): string {
  return code === 'validation.config' ? printableLines(message) : printable(message.replace(/\n\s*/g, '; '));
}

function addCommands(program: Command, perform: Perform): void {
  program
    .description('Keeps the ledger of a fleet, serves it and proves it.')
    .version(version)
    .option('--config <file>', 'settings file (YAML); also SIGILWATCH_CONFIG')
    .option('--data-dir <dir>', 'overrides the setting dataDir')
    .option('--print-config', 'print the settings in force, secrets masked, and exit')
    .option('--json', 'machine-readable output')
    .configureHelp({ showGlobalOptions: true });
  program
    .command('run', { isDefault: true })
    .description('serve until stopped (the default)')
    .allowExcessArguments()
    .action((_, { args }: Command) => {
      requireNoMore(program, args);
      return perform(async (context) => (await import('./commands/run.ts')).run(context));
    });
  program
    .command('migrate')
    .description('bring the database to the newest version')
    .action(() => perform(async (context) => (await import('./commands/migrate.ts')).migrateCommand(context)));
  addNodes(program.command('nodes').description('who may write to the ledger'), perform);
  addFleet(program.command('fleet').description('what the nodes have told'), perform);
  addEnforcement(program, perform);
  addChanges(program, perform);
  addDesired(program, perform);
  addAlerts(program.command('alerts').description('what people are told of, and whether they were'), perform);
  addIntegrity(
    program.command('integrity').description('complete checks, of the ledger and of the nodes, and their reports'),
    perform,
  );
  addPolicy(program.command('policy').description('what rules do, before they are committed'), perform);
  const ledger = program.command('ledger').description('check the ledger and take parts of it away');
  addLedger(ledger, perform);
  addReplay(ledger, perform);
  addErase(ledger, perform);
  const witnesses = program.command('witnesses').description('who vouches for the ledger');
  witnesses
    .command('list')
    .description('every witness with what it cosigned last, the quorum, and what it does not cover yet')
    .action(() => perform(async (context) => (await import('./commands/witnesses-list.ts')).witnessesList(context)));
  witnesses
    .command('pins')
    .description('the keys of the nodes, ready for the manifest: for orders that have to be witnessed')
    .action(() => perform(async (context) => (await import('./commands/witnesses-pins.ts')).witnessesPins(context)));
  program
    .command('operator-token')
    .description('make a new operator token; older ones end')
    .action(() => perform(async (context) => (await import('./commands/operator-token.ts')).operatorToken(context)));
}

/** For others than the collector's operator. */
function addVerify(program: Command, perform: PerformAlone): void {
  program
    .command('verify <file>')
    .description('check a proof file, an export or a checkpoint, offline; exit code 1 when something is wrong')
    .requiredOption('--policy <file>', 'whom to believe (C2SP tlog-policy), as "ledger policy" writes it')
    .option('--require-signatures', "an entry whose author's key is not known counts as wrong")
    .action((file: string, options: { policy: string; requireSignatures?: boolean }) =>
      perform(async (world) => (await import('./commands/verify.ts')).verifyFile(world, file, options)),
    );
}

/** For whoever commits the manifest. */
function addManifest(manifest: Command, perform: PerformAlone): void {
  manifest
    .command('check <path>')
    .description('check a manifest file, or the one in a work tree, before it is committed; exit code 1 for mistakes')
    .option('--node <node>', 'show what would be wanted on this one')
    .action((path: string, options: ManifestCheckOptions) =>
      perform(async (world) => (await import('./commands/manifest-check.ts')).manifestCheck(world, path, options)),
    );
}

function addPolicy(policy: Command, perform: Perform): void {
  policy
    .command('backtest')
    .description(
      'what the rules of a manifest would have done in the past, by the ledger; exit code 1 for mistakes in it',
    )
    .requiredOption('--manifest <path>', 'a manifest file, or a work tree with one and its compose files')
    .option('--days <days>', 'how far to go back (default: 30)')
    .option('--node <node>', 'tell only about this one')
    .option('--released', 'go on as if somebody released the manifest wherever it would have been frozen')
    .action((options: BacktestOptions) =>
      perform(async (context) => (await import('./commands/policy-backtest.ts')).policyBacktest(context, options)),
    );
}

/** Words that are no command end up here, because `run` is what is meant when there is none. */
function requireNoMore(program: Command, [unknown]: readonly string[]): void {
  if (unknown !== undefined) program.error(`error: unknown command '${unknown}'; see --help`);
}

function addNodes(nodes: Command, perform: Perform): void {
  nodes
    .command('token <node>')
    .description('make a single-use join token for a node')
    .action((node: string) =>
      perform(async (context) => (await import('./commands/nodes-token.ts')).nodesToken(context, { node })),
    );
  nodes
    .command('list')
    .description('all nodes that were ever enrolled')
    .action(() => perform(async (context) => (await import('./commands/nodes-list.ts')).nodesList(context)));
  nodes
    .command('revoke <node>')
    .description('end the trust in the key of a node, at once')
    .requiredOption('--reason <text>', 'goes on record')
    .action((node: string, { reason }: { reason: string }) =>
      perform(async (context) => (await import('./commands/nodes-revoke.ts')).nodesRevoke(context, { node, reason })),
    );
}

function addFleet(fleet: Command, perform: Perform): void {
  fleet
    .command('show')
    .description('nodes, containers, open drifts and findings: now, or as the ledger knew them at a moment')
    .option('--at <time>', 'such as 2026-11-20T10:00:00Z, "2026-11-20 10:00" (UTC), -15m or "2 hours ago"')
    .option('--size <entries>', 'after the first so many entries, as in a checkpoint')
    .option('--node <node>', 'only this one')
    .action((options: FleetShowOptions) =>
      perform(async (context) => (await import('./commands/fleet-show.ts')).fleetShow(context, options)),
    );
}

function addLedger(ledger: Command, perform: Perform): void {
  ledger
    .command('verify')
    .description('derive everything again from the entries; exit code 1 when something is wrong')
    .option(
      '--checkpoint <file>',
      'a signed checkpoint kept from earlier, which the ledger must contain; the one in the data directory is always looked at',
    )
    .option('--no-signatures', 'a quick look: hashes, columns, tiles and chains, but no signatures')
    .option('--resume', 'go on where an interrupted verification was, and trust what it had found')
    .option('--progress', 'a line about how far it is every ten seconds, also where nobody watches')
    .action((options: VerifyOptions) =>
      perform(async (context) => (await import('./commands/ledger-verify.ts')).ledgerVerify(context, options)),
    );
  ledger
    .command('export')
    .description('entries as JSON lines with proofs, and a signed checkpoint as the last line; for "verify"')
    .option('--from <index>', 'first index', '0')
    .option('--to <index>', 'index after the last one (default: the end)')
    .option('-o, --output <file>', 'write to a new file instead of standard output')
    .action((options: { from: string; to?: string; output?: string }) =>
      perform(async (context) => (await import('./commands/ledger-export.ts')).ledgerExport(context, options)),
    );
  ledger
    .command('recover <file...>')
    .description(
      'put lost entries back from exports or the git mirror (files or folders), when a database was put back to an older backup',
    )
    .action((files: string[]) =>
      perform(async (context) => (await import('./commands/ledger-recover.ts')).ledgerRecover(context, files)),
    );
  ledger
    .command('proof <index>')
    .description('proof file (C2SP tlog-proof) with an entry, that it is in the ledger; for "verify"')
    .option('-o, --output <file>', 'name of the proof file (default: entry-<index>.tlog-proof)')
    .action((index: string, options: { output?: string }) =>
      perform(async (context) =>
        (await import('./commands/ledger-proof.ts')).ledgerProof(context, { index, ...options }),
      ),
    );
  ledger
    .command('mirror')
    .description('commit new entries to the git repository of ledger.mirror, on its interval until stopped')
    .option('--once', 'only what is new now')
    .action((options: { once?: boolean }) =>
      perform(async (context) => (await import('./commands/ledger-mirror.ts')).ledgerMirror(context, options)),
    );
  ledger
    .command('policy')
    .description('trust policy (C2SP tlog-policy) of this ledger and its witnesses; for "verify"')
    .option('-o, --output <file>', 'write to a new file instead of standard output')
    .action((options: { output?: string }) =>
      perform(async (context) => (await import('./commands/ledger-policy.ts')).ledgerPolicy(context, options)),
    );
}

function addReplay(ledger: Command, perform: Perform): void {
  ledger
    .command('replay')
    .description('rebuild the projections (what API and commands show) from the entries, and repair the stored ones')
    .option('--check', 'only compare; exit code 1 when a row differs')
    .action((options: { check?: boolean }) =>
      perform(async (context) => (await import('./commands/ledger-replay.ts')).ledgerReplay(context, options)),
    );
}

function addErase(ledger: Command, perform: Perform): void {
  ledger
    .command('erase')
    .description('drop the bodies of old entries, by whole partitions; hashes, proofs and an entry that says so stay')
    .option('--before <time>', 'entries received before, such as 2026-01-31 or 2026-01-31T12:00:00Z')
    .option('--older-than <age>', 'entries received longer ago, such as 365d, 12h or 90m')
    .option('--to <index>', 'entries with a lower index')
    .option('--export <folder>', 'first export them to this folder; default: the setting ledger.retentionExport')
    .option('--no-export', 'erase without an export, whatever the settings say')
    .option('--reason <text>', 'goes on record instead of the limit')
    .option('--dry-run', 'only show what would go')
    .option('--yes', 'do it')
    .action((options: EraseOptions) =>
      perform(async (context) => (await import('./commands/ledger-erase.ts')).ledgerErase(context, options)),
    );
}

async function withSettings(world: CliWorld, options: GlobalOptions, action: Action): Promise<number> {
  const loaded = settingsOf(collectorSettings, { ...world, config: options.config, dataDir: options.dataDir });
  if (options.printConfig === true) {
    world.stdout.write(formatSettings(loaded.effective));
    return exitCodes.done;
  }
  const { stdout, stderr, stopRequested } = world;
  return action({ settings: loaded.values, json: options.json === true, stdout, stderr, stopRequested });
}
