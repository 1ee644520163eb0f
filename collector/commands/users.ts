import type { z } from 'zod';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { whoami } from '../api/sessions-contract.ts';
import { userChange, userCreate, userList, type userRole } from '../api/users-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { type ListOptions, showList } from './list.ts';
import { askForPassword, readPasswordFile } from './passwords.ts';

type UserRole = z.infer<typeof userRole>;

export interface UserAddOptions {
  readonly role: UserRole;
  readonly passwordFile?: string;
}

export interface UserChangeOptions {
  readonly role?: UserRole;
  readonly lock?: boolean;
  readonly unlock?: boolean;
  readonly passwordFile?: string;
}

/** People who may sign in, by name. */
export function usersList(context: CommandContext, options: ListOptions): Promise<number> {
  return showList(context, options, {
    page: (api, at) => api.call(userList, { query: at }),
    heading: ['USER', 'ROLE', 'STATE', 'PASSWORD OF'],
    cells,
    none: 'no users yet; make one with "sigilwatch-collector users add NAME --role admin --password-file FILE"',
  });
}

type User = AnswerOf<typeof userList>['items'][number];

function cells({ name, role, locked_at, password_changed_at }: User): readonly string[] {
  return [name, role, locked_at === null ? 'active' : `locked since ${locked_at}`, password_changed_at];
}

export async function usersAdd(context: CommandContext, name: string, options: UserAddOptions): Promise<number> {
  const { role } = options;
  const password = await askForPassword(`password for ${name}: `, context.stderr, options.passwordFile);
  return withApi(context, async ({ api }) => {
    const made = await api.call(userCreate, { body: { name, role, password } });
    show(context, made, (user) => `the user ${user.name} (${user.role}) may sign in\n`);
    return exitCodes.done;
  });
}

export async function usersChange(context: CommandContext, name: string, options: UserChangeOptions): Promise<number> {
  const { role, lock = false, unlock = false, passwordFile } = options;
  if (lock && unlock) throw new AppError('validation.request', '--lock and --unlock exclude each other');
  if (!lock && !unlock && role === undefined && passwordFile === undefined) {
    throw new AppError('validation.request', 'say what changes: --role, --lock, --unlock or --password-file');
  }
  const password = passwordFile === undefined ? undefined : await readPasswordFile(passwordFile);
  const body = { role, password, locked: lock === unlock ? undefined : lock };
  return withApi(context, async ({ api }) => {
    const changed = await api.call(userChange, { params: { name }, body });
    show(context, changed, (user) => `${cells(user).join(', ')}\n`);
    return exitCodes.done;
  });
}

export function whoAmI(context: CommandContext): Promise<number> {
  return withApi(context, async ({ api }) => {
    const me = await api.call(whoami, {});
    show(context, me, ({ actor, role, permissions }) => `${actor} (${role})\nmay: ${permissions.join(' ')}\n`);
    return exitCodes.done;
  });
}
