import type { Command } from 'commander';
import { jobStatuses } from '../../common/job-words.ts';
import { enforcementActions } from '../../common/kinds.ts';
import type { DeadLettersListOptions } from '../commands/dead-letters.ts';
import type { EnforcementRequestOptions, EnforcementsListOptions } from '../commands/enforcements.ts';
import { oneOf, type Perform, paged } from './options.ts';

/** The commands about enforcement jobs, those that failed for good, and what stands between them and outside services. */
export function addJobs(program: Command, perform: Perform): void {
  addEnforcements(program.command('enforcements').description('what is done outside about artifacts'), perform);
  addDeadLetters(program.command('dead-letters').description('enforcements that failed for good'), perform);
  addBreakers(program.command('breakers').description('services that are left alone after failures'), perform);
  program
    .command('governance')
    .description('how far orders may go')
    .command('status')
    .description('what each rule would do now, and what is left of the limits of each node')
    .option('--node <node>', 'only this one')
    .action((options: { readonly node?: string }) =>
      perform(async (context) => (await import('../commands/governance-status.ts')).governanceStatus(context, options)),
    );
}

function addEnforcements(enforcements: Command, perform: Perform): void {
  paged(enforcements.command('list'))
    .description('enforcements of artifacts, newest first')
    .option('--artifact <hash>', 'only of this one')
    .addOption(oneOf('--action <action>', 'only of this kind', enforcementActions))
    .addOption(oneOf('--status <status>', 'only those that stand so', jobStatuses))
    .action((options: EnforcementsListOptions) =>
      perform(async (context) => (await import('../commands/enforcements.ts')).enforcementsList(context, options)),
    );
  enforcements
    .command('show <id>')
    .description('one enforcement with every try, and how it ended')
    .action((id: string) =>
      perform(async (context) => (await import('../commands/enforcements.ts')).enforcementsShow(context, id)),
    );
  enforcements
    .command('request')
    .description('have something done about an artifact')
    .requiredOption('--artifact <hash>', 'its SHA-256')
    .addOption(oneOf('--action <action>', 'what', enforcementActions).makeOptionMandatory())
    .requiredOption('--target <target>', 'of webhook_alert the URL, of pin_arweave a word for people; goes on record')
    .option('--reason <text>', 'goes on record', '')
    .action((options: EnforcementRequestOptions) =>
      perform(async (context) => (await import('../commands/enforcements.ts')).enforcementsRequest(context, options)),
    );
}

function addDeadLetters(letters: Command, perform: Perform): void {
  paged(letters.command('list'))
    .description('dead letters, the one that failed last first')
    .addOption(oneOf('--state <state>', 'open: nothing was done about it yet', ['open', 'followed', 'all'], 'open'))
    .action((options: DeadLettersListOptions) =>
      perform(async (context) => (await import('../commands/dead-letters.ts')).deadLettersList(context, options)),
    );
  letters
    .command('show <id>')
    .description('one dead letter with every try, and what was done about it')
    .action((id: string) =>
      perform(async (context) => (await import('../commands/dead-letters.ts')).deadLettersShow(context, id)),
    );
  letters
    .command('retry <id>')
    .description('try it again, as an enforcement of its own that names this one')
    .action((id: string) =>
      perform(async (context) => (await import('../commands/dead-letters.ts')).deadLettersRetry(context, id)),
    );
  letters
    .command('resolve <id>')
    .description('put on record that nothing more is to be done')
    .requiredOption('--reason <text>', 'goes on record')
    .action((id: string, { reason }: { readonly reason: string }) =>
      perform(async (context) => (await import('../commands/dead-letters.ts')).deadLettersResolve(context, id, reason)),
    );
}

function addBreakers(breakers: Command, perform: Perform): void {
  breakers
    .command('list')
    .description('circuit breakers of outside services, with what they have counted')
    .action(() => perform(async (context) => (await import('../commands/breakers.ts')).breakersList(context)));
  breakers
    .command('reset <service>')
    .description('let a service be tried again now, by every collector')
    .action((service: string) =>
      perform(async (context) => (await import('../commands/breakers.ts')).breakersReset(context, service)),
    );
}
