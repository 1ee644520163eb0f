import { Command, CommanderError } from 'commander';
import { toAppError } from '../common/errors.ts';
import { exitCodeOf, exitCodes } from '../common/exit-codes.ts';
import { settingsOf } from '../common/settings/command-line.ts';
import { formatSettings } from '../common/settings.ts';
import { version } from '../common/version.ts';
import { addBundle } from './cli/bundle.ts';
import { addIntegrity } from './cli/integrity.ts';
import { systemClock } from './clock.ts';
import {
  type Action,
  asOwner,
  type CliContext,
  type GlobalOptions,
  nodeMeant,
  type Perform,
  requireNodeName,
  type Show,
} from './commands/context.ts';
import { agentSettings } from './config.ts';

/** Runs one command line; resolves to the exit code. The one boundary where a command's errors are told. */
export async function runCli(context: CliContext): Promise<number> {
  let exitCode: number = exitCodes.done;
  const program = new Command('sigilwatch-agent').exitOverride().configureOutput({
    writeOut: context.stdout,
    writeErr: context.stderr,
  });
  addCommands(program, context, async (action) => {
    exitCode = await withSettings(context, program.opts<GlobalOptions>(), action);
  });
  try {
    await program.parseAsync(context.argv, { from: 'user' });
    return exitCode;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    const error = toAppError(thrown);
    const { code, message, details } = error;
    const { json } = program.opts<GlobalOptions>();
    context.stderr(json ? `${JSON.stringify({ error_code: code, message, details })}\n` : `${message}\n`);
    return exitCodeOf(error);
  }
}

/** Commands are loaded when they are asked for: `run` must not pay for the others' memory. */
function addCommands(program: Command, context: CliContext, perform: Perform): void {
  program
    .description('Watches the containers and sigil stores of one node.')
    .version(version)
    .option('--config <file>', 'settings file (YAML); also SIGILWATCH_CONFIG')
    .option('--data-dir <dir>', 'overrides the setting dataDir')
    .option('--print-config', 'print the settings in force, secrets masked, and exit')
    .option('--json', 'machine-readable output')
    .configureHelp({ showGlobalOptions: true });
  program
    .command('run', { isDefault: true })
    .description('watch until stopped (the default)')
    .allowExcessArguments()
    .action((_, { args }: Command) => {
      requireNoMore(program, args);
      return perform((settings) => context.run(settings));
    });
  addEnroll(program, context, perform);
  addScan(program, context, perform);
  addIntegrity(
    program.command('integrity').description('complete checks of the sigil stores'),
    context,
    program,
    perform,
  );
  addManifest(program.command('manifest').description('what git says should run'), context, program, perform);
  const owned = asOwner(perform);
  addWitness(program.command('witness').description('what this node vouches for'), owned);
  addDesired(program.command('desired').description('what git says should run here'), owned);
  addBundle(program.command('bundle').description('carry by hand what cannot go over the network'), context, owned);
  program
    .command('status')
    .description('ask the agent running on this machine how it is; exit code 1 when something is wrong')
    .action(() =>
      perform(async (settings, show) => {
        const { askStatus, formatStatus } = await import('./commands/status.ts');
        const status = await askStatus(settings);
        show(status, formatStatus);
        return status.status === 'ok' ? exitCodes.done : exitCodes.findings;
      }),
    );
  program
    .command('doctor')
    .description('check everything the agent depends on, with a fix for each thing that is wrong')
    .action(() =>
      owned(async (settings, show) => {
        const { examine } = await import('./commands/doctor.ts');
        const { checksExitCode, formatChecks } = await import('../common/checkup.ts');
        const checks = await examine(settings);
        show(checks, formatChecks);
        return checksExitCode(checks);
      }),
    );
}

/** Words that are no command end up here, because `run` is what is meant when there is none. */
function requireNoMore(program: Command, [unknown]: readonly string[]): void {
  if (unknown !== undefined) program.error(`error: unknown command '${unknown}'; see --help`);
}

interface EnrollFlags {
  readonly collector: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly node?: string;
  readonly force?: boolean;
  readonly executorDir?: string;
}

function addEnroll(program: Command, context: CliContext, perform: Perform): void {
  program
    .command('enroll')
    .description('make a key on this node and join a collector')
    .requiredOption('--collector <url>', 'address of the collector')
    .option('--token <token>', 'join token from `sigilwatch-collector nodes token`')
    .option(
      '--token-file <file>',
      'with the join token, which is not seen in a list of processes then; "-" is standard input',
    )
    .option('--node <name>', 'name of this node (default: the host name)')
    .option('--force', 'make a new key, and give up the present enrolment')
    .option('--executor-dir <folder>', 'also write there, as root, what the executor has to know: /etc/sigilwatch')
    .action(({ force = false, executorDir, collector, ...options }: EnrollFlags) =>
      perform(async ({ dataDir, collector: { caFile } }, show) => {
        const { readJoinToken } = await import('./commands/join-token.ts');
        const { enroll } = await import('./commands/enroll.ts');
        const { formatEnrolment } = await import('./enrol.ts');
        const { readAuthorities } = await import('./link/authorities.ts');
        const node = requireNodeName(options.node ?? context.hostname);
        const ca = await readAuthorities(caFile);
        const token = await readJoinToken(options);
        show(await enroll({ collector, token, executorDir, force, node, dataDir, version, ca }), formatEnrolment);
        return exitCodes.done;
      }),
    );
}

function addScan(program: Command, context: CliContext, perform: Perform): void {
  program
    .command('scan')
    .description('look at everything once, without a collector; exit code 0 clean, 1 findings, 2 not all could be seen')
    .option('--once', 'scan once and exit, which is all this command does')
    .option('--node <name>', 'node whose part of the manifest counts (default: the enrolled name, or the host name)')
    .action((options: { node?: string }) =>
      perform(async (settings, show) => {
        const { formatScan, scanExitCode, scanOnce } = await import('./commands/scan.ts');
        const node = await nodeMeant(options.node, settings.dataDir, context.hostname);
        const outcome = await scanOnce(settings, node, systemClock);
        show(outcome, formatScan);
        return scanExitCode(outcome);
      }),
    );
}

interface AdoptFlags {
  readonly node?: string;
  readonly repository?: string;
  readonly output?: string;
  readonly author?: string;
  readonly withSecrets?: true | string;
  readonly dropMissing?: boolean;
}

function addManifest(manifest: Command, context: CliContext, program: Command, perform: Perform): void {
  manifest
    .command('adopt')
    .description('make a patch (for git am) that has the manifest want what runs on this node; changes nothing itself')
    .option('--repository <path>', 'git repository with the manifest (default: the setting manifest.repository)')
    .option('--node <name>', 'node whose part of the manifest counts (default: the enrolled name, or the host name)')
    .option('-o, --output <file>', 'write the patch there, never over a file that exists (default: standard output)')
    .option('--author <author>', '"Name <email>" (default: as git is configured)')
    .option('--with-secrets [names]', 'write values that look secret, too: all, or those with these names (A,B)')
    .option('--drop-missing', 'no longer want containers of which there is none')
    .action((options: AdoptFlags) =>
      perform(async (settings) => {
        const { manifestAdopt } = await import('./commands/manifest-adopt.ts');
        const node = await nodeMeant(options.node, settings.dataDir, context.hostname);
        const { json = false } = program.opts<GlobalOptions>();
        const { stdout, stderr, env } = context;
        const world = { settings, clock: systemClock, json, stdout, stderr, home: env.HOME };
        return manifestAdopt(world, { ...options, node });
      }),
    );
}

function addWitness(witness: Command, perform: Perform): void {
  witness
    .command('show')
    .description('the checkpoint held, and forks that stand; exit code 1 when there is one')
    .action(() =>
      perform(async (settings, show) => {
        const { formatWitness, showWitness } = await import('./commands/witness.ts');
        const shown = await showWitness(settings);
        show(shown, formatWitness);
        return shown.forks.length === 0 ? exitCodes.done : exitCodes.findings;
      }),
    );
  witness
    .command('release')
    .description('let the agent go on after a fork, from the checkpoint it holds')
    .requiredOption('--reason <text>', 'what was found out; goes on record')
    .action(({ reason }: { reason: string }) =>
      perform(async (settings, show) => {
        const { formatReleased, releaseWitness } = await import('./commands/witness.ts');
        show(await releaseWitness(settings, reason, systemClock.now()), formatReleased);
        return exitCodes.done;
      }),
    );
}

function addDesired(desired: Command, perform: Perform): void {
  desired
    .command('show')
    .description('the commit in force, who signed it, and what was refused last and why')
    .action(() =>
      perform(async (settings, show) => {
        const { formatDesired, showDesired } = await import('./commands/desired-show.ts');
        show(await showDesired(settings), formatDesired);
        return exitCodes.done;
      }),
    );
  desired
    .command('import <file>')
    .description('hand a git bundle to the agent, for example from a stick')
    .action((file: string) =>
      perform(async (settings, show) => {
        const { formatImported, importBundle } = await import('./commands/desired-import.ts');
        show(await importBundle(settings, file, systemClock.now()), formatImported);
        return exitCodes.done;
      }),
    );
  desired
    .command('accept <commit>')
    .description('let a commit come into force although it is no descendant of the one that is; by its whole id')
    .requiredOption('--reason <text>', 'why; goes into the log')
    .action((commit: string, { reason }: { reason: string }) =>
      perform(async (settings, show) => {
        const { acceptCommit, formatAccepted } = await import('./commands/desired-accept.ts');
        show(await acceptCommit(settings, { commit, reason }, systemClock.now()), formatAccepted);
        return exitCodes.done;
      }),
    );
}

async function withSettings(context: CliContext, options: GlobalOptions, action: Action): Promise<number> {
  const loaded = settingsOf(agentSettings, { ...context, config: options.config, dataDir: options.dataDir });
  if (options.printConfig) {
    context.stdout(formatSettings(loaded.effective));
    return exitCodes.done;
  }
  const show: Show = (result, format) => {
    context.stdout(options.json ? `${JSON.stringify(result)}\n` : format(result));
  };
  return action(loaded.values, show);
}
