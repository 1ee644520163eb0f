import { Argument, Command, CommanderError } from 'commander';
import { type AppError, toAppError } from '../common/errors.ts';
import { exitCodeOf, exitCodes } from '../common/exit-codes.ts';
import { printable, printableJson, printableLines } from '../common/printable.ts';
import { settingsOf } from '../common/settings/command-line.ts';
import { formatSettings } from '../common/settings.ts';
import { version } from '../common/version.ts';
import { addAlerts } from './cli/alerts.ts';
import { addArtifact } from './cli/artifact.ts';
import { addBudgets } from './cli/budgets.ts';
import { addBundles } from './cli/bundle.ts';
import { addChanges } from './cli/changes.ts';
import { addDesired } from './cli/desired.ts';
import { addEnforcement } from './cli/enforcement.ts';
import { addEvents } from './cli/events.ts';
import { addFleet } from './cli/fleet.ts';
import { addIntegrity } from './cli/integrity.ts';
import { addJobs } from './cli/jobs.ts';
import type { Perform } from './cli/options.ts';
import { addUsers } from './cli/users.ts';
import type { CompletedShell } from './commands/completion.ts';
import type { CommandContext, CommandOutput } from './commands/context.ts';
import type { EraseOptions } from './commands/ledger-erase.ts';
import type { VerifyOptions } from './commands/ledger-verify.ts';
import type { ManifestCheckOptions } from './commands/manifest-check.ts';
import type { BacktestOptions } from './commands/policy-backtest.ts';
import type { RunOptions } from './commands/run.ts';
import { caFileOf, serverOf } from './commands/server.ts';
import type { VerifyWorld } from './commands/verify.ts';
import { collectorSettings } from './config.ts';

/** Shells that there is a script for. */
const completedShells = ['bash', 'zsh'] as const satisfies readonly CompletedShell[];

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
  readonly server?: string;
  readonly tokenFile?: string;
  readonly caFile?: string;
}

type Action = (context: CommandContext) => Promise<number>;
/** For commands that need no settings, so that none of them can be wrong. */
export type PerformAlone = (action: (world: VerifyWorld & Pick<CliWorld, 'env'>) => Promise<number>) => Promise<void>;

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
  const performAlone: PerformAlone = async (action) => {
    exitCode = await action({ ...world, json: program.opts<GlobalOptions>().json === true });
  };
  addEverything(program, { perform, performAlone });
  try {
    await program.parseAsync(world.argv, { from: 'user' });
    return exitCode;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    return tell(world, toAppError(thrown), program.opts<GlobalOptions>().json === true);
  }
}

export interface Performing {
  readonly perform: Perform;
  readonly performAlone: PerformAlone;
}

/** Every command there is. What they do, `perform` and `performAlone` have done. */
export function addEverything(program: Command, performing: Performing): void {
  const { perform, performAlone } = performing;
  addCommands(program, perform);
  addVerify(program, performAlone);
  addArtifact(program, performing);
  addManifest(program.command('manifest').description('what should run'), performAlone);
  addCompletion(program, performAlone);
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
    .option(
      '--server <url>',
      'ask this collector, instead of the one whose data directory is here; also SIGILWATCH_SERVER',
    )
    .option('--token-file <file>', 'with the token for it; also SIGILWATCH_TOKEN')
    .option('--ca-file <file>', 'with the authorities that its certificate is checked by; also SIGILWATCH_CA_FILE')
    .configureHelp({ showGlobalOptions: true });
  program
    .command('run', { isDefault: true })
    .description('serve until stopped (the default)')
    .option('--insecure', 'listen without TLS where others can read along, too; as http.insecure')
    .allowExcessArguments()
    .action((options: RunOptions, { args }: Command) => {
      requireNoMore(program, args);
      return perform(async (context) => (await import('./commands/run.ts')).run(context, options));
    });
  program
    .command('migrate')
    .description('bring the database to the newest version')
    .action(() => perform(async (context) => (await import('./commands/migrate.ts')).migrateCommand(context)));
  program
    .command('doctor')
    .description('check everything the collector depends on, with a fix for each thing that is wrong')
    .action(() => perform(async (context) => (await import('./commands/doctor.ts')).doctor(context)));
  addUsers(program, perform);
  addFleet(program, perform);
  addEnforcement(program, perform);
  addBudgets(program, perform);
  addBundles(program, perform);
  addJobs(program, perform);
  addChanges(program, perform);
  addDesired(program, perform);
  addEvents(program, perform);
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
}

/** For shells. */
function addCompletion(program: Command, perform: PerformAlone): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>', 'for which').choices(completedShells))
    .description('print what makes a shell complete these commands: source <(sigilwatch-collector completion bash)')
    .action((shell: CompletedShell) =>
      perform(async (world) => (await import('./commands/completion.ts')).completion(world, program, shell)),
    );
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
  const { stdout, stderr, stopRequested, env } = world;
  const json = options.json === true;
  const { tokenFile } = options;
  const { SIGILWATCH_CONFIG: config, SIGILWATCH_DATA_DIR: dataDir, DATABASE_URL: url } = env;
  const namesData = [options.config, options.dataDir, config, dataDir, url].some((named) => Boolean(named));
  const elsewhere = { server: serverOf(options, env), tokenFile, caFile: caFileOf(options, env), namesData };
  return action({ settings: loaded.values, json, stdout, stderr, stopRequested, env, ...elsewhere });
}
