import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { tokenCreate, tokenList, tokenRevoke } from '../api/tokens-contract.ts';
import { type Permission, permissionsOf, type Role } from '../auth/permissions.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { type ListOptions, showList } from './list.ts';
import { parsePeriod } from './silences.ts';

export interface TokenCreateOptions {
  readonly can?: readonly Permission[];
  readonly role?: Role;
  readonly for: string;
}

/** Makes a token. Its secret stands alone in the first line, for `head -1`. */
export function tokensCreate(context: CommandContext, name: string, options: TokenCreateOptions): Promise<number> {
  const permissions = wantedPermissions(options);
  const body = { name, permissions: [...permissions], for_seconds: parsePeriod(options.for) / 1_000 };
  return withApi(context, async ({ api }) => {
    const made = await api.call(tokenCreate, { body });
    show(
      context,
      made,
      ({ secret, id, expires_at, permissions: can }) =>
        `${secret}\n\nIt is shown only now, and good until ${expires_at}. Revoke it with "tokens revoke ${id}".\nIt may: ${can.join(' ')}\n`,
    );
    return exitCodes.done;
  });
}

function wantedPermissions({ can = [], role }: TokenCreateOptions): readonly Permission[] {
  if (can.length > 0 === (role !== undefined)) {
    throw new AppError('validation.request', 'say what it is for, either by --can PERMISSION... or by --role ROLE');
  }
  return role === undefined ? can : [...permissionsOf(role)];
}

type Token = AnswerOf<typeof tokenList>['items'][number];

/** API tokens: those of whoever asks, and for administrators everybody's. */
export function tokensList(context: CommandContext, options: ListOptions): Promise<number> {
  return showList(context, options, {
    page: (api, at) => api.call(tokenList, { query: at }),
    heading: ['TOKEN', 'NAME', 'OWNER', 'STATE', 'LAST USED', 'EXPIRES', 'MAY'],
    cells,
    none: 'no API tokens',
  });
}

function cells(token: Token): readonly string[] {
  return [
    token.id,
    token.name,
    token.owner ?? '(this machine)',
    stateOf(token),
    token.last_used_at ?? 'never',
    token.expires_at,
    token.permissions.join(' '),
  ];
}

function stateOf({ revoked_at, expires_at }: Token): string {
  if (revoked_at !== null) return 'revoked';
  return Date.parse(expires_at) <= Date.now() ? 'expired' : 'good';
}

export function tokensRevoke(context: CommandContext, id: string): Promise<number> {
  return withApi(context, async ({ api }) => {
    show(context, await api.call(tokenRevoke, { params: { id } }), () => `the API token ${id} is revoked\n`);
    return exitCodes.done;
  });
}
