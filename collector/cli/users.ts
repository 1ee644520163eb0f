import type { Command } from 'commander';
import { permissionNames, roles } from '../auth/permissions.ts';
import type { ListOptions } from '../commands/list.ts';
import type { LoginOptions } from '../commands/login.ts';
import type { TokenCreateOptions } from '../commands/tokens.ts';
import type { UserAddOptions, UserChangeOptions } from '../commands/users.ts';
import { oneOf, type Perform, paged } from './options.ts';

/** Nobody signs in as nobody. */
const userRoles = roles.filter((role) => role !== 'anonymous');

/** The commands about who may use the API. */
export function addUsers(program: Command, perform: Perform): void {
  addUserCommands(program.command('users').description('people who may sign in'), perform);
  addTokenCommands(program.command('tokens').description('API tokens, for machines'), perform);
  program
    .command('login')
    .description('sign in to a collector; the commands that follow ask it')
    .option('--user <name>', 'who you are; asked for on a terminal otherwise')
    .option('--password-file <file>', 'a file with the password; asked for on a terminal otherwise')
    .option(
      '--setup [code]',
      'make the first administrator first, with the code that the collector printed at its start',
    )
    .action((options: LoginOptions) =>
      perform(async (context) => (await import('../commands/login.ts')).login(context, options)),
    );
  program
    .command('logout')
    .description('end the session that "login" began')
    .action(() => perform(async (context) => (await import('../commands/login.ts')).logout(context)));
  program
    .command('whoami')
    .description('who you are, and what you may do')
    .action(() => perform(async (context) => (await import('../commands/users.ts')).whoAmI(context)));
}

function addUserCommands(users: Command, perform: Perform): void {
  paged(users.command('list'))
    .description('all users, by name')
    .action((options: ListOptions) =>
      perform(async (context) => (await import('../commands/users.ts')).usersList(context, options)),
    );
  users
    .command('add <name>')
    .description('make a user')
    .addOption(oneOf('--role <role>', 'what it may', userRoles).makeOptionMandatory())
    .option('--password-file <file>', 'a file with the first password; asked for on a terminal otherwise')
    .action((name: string, options: UserAddOptions) =>
      perform(async (context) => (await import('../commands/users.ts')).usersAdd(context, name, options)),
    );
  users
    .command('change <name>')
    .description('change role, lock or password; a lock and a new password end all sessions')
    .addOption(oneOf('--role <role>', 'what it may', userRoles))
    .option('--lock', 'nobody signs in with it any more')
    .option('--unlock', 'it may be signed in with again')
    .option('--password-file <file>', 'a file with a new password')
    .action((name: string, options: UserChangeOptions) =>
      perform(async (context) => (await import('../commands/users.ts')).usersChange(context, name, options)),
    );
}

function addTokenCommands(tokens: Command, perform: Perform): void {
  tokens
    .command('create <name>')
    .description('make an API token and show it, this once')
    .addOption(oneOf('--can <permission...>', 'what it is for; several may follow', permissionNames))
    .addOption(oneOf('--role <role>', 'all that this role may', roles))
    .option('--for <time>', 'how long it is good for, such as 12h or 90d', '90d')
    .action((name: string, options: TokenCreateOptions) =>
      perform(async (context) => (await import('../commands/tokens.ts')).tokensCreate(context, name, options)),
    );
  paged(tokens.command('list'))
    .description("your API tokens; everybody's for administrators")
    .action((options: ListOptions) =>
      perform(async (context) => (await import('../commands/tokens.ts')).tokensList(context, options)),
    );
  tokens
    .command('revoke <id>')
    .description('end an API token, at once')
    .action((id: string) =>
      perform(async (context) => (await import('../commands/tokens.ts')).tokensRevoke(context, id)),
    );
}
