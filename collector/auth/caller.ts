import { AppError } from '../../common/errors.ts';
import { type Permission, permissionsOf, type Role } from './permissions.ts';

/** Who makes a request, as far as it is known, and what that allows. */
export interface Caller {
  /** As it goes on record: `user:ada`, `token:ci`, `local` for whoever acts on the collector's own machine, `anonymous`. */
  readonly actor: string;
  readonly role: Role;
  /** Those of the role, or fewer where an API token was made for fewer. */
  readonly permissions: ReadonlySet<Permission>;
  /** Name of the user who signed in, or who made the API token; missing for `local`, `anonymous` and tokens that `local` made. */
  readonly user?: string;
  /** Id of the session, for whoever signed in. */
  readonly session?: string;
  /** Id of the API token, for whoever uses one. */
  readonly token?: string;
}

/** Whoever has not signed in. */
export const anonymous: Caller = {
  actor: 'anonymous',
  role: 'anonymous',
  permissions: permissionsOf('anonymous'),
};

/** Whoever can read the collector's key and database can do everything anyway. */
export const local: Caller = { actor: 'local', role: 'admin', permissions: permissionsOf('admin') };

/**
 * @throws AppError `auth.required` for whoever is not signed in, `auth.forbidden` naming the permission that is missing.
 */
export function requirePermission(caller: Caller, permission: Permission): void {
  if (caller.permissions.has(permission)) return;
  if (caller.role === 'anonymous') {
    const how = 'sign in first: "sigilwatch-collector login", or send "Authorization: Bearer TOKEN"';
    throw new AppError('auth.required', how);
  }
  const { actor, role, token } = caller;
  const refused = token === undefined ? `${actor} (${role}) may not` : `${actor} was not made for this`;
  throw new AppError('auth.forbidden', `${refused}: it needs the permission ${permission}`, {
    details: { permission },
  });
}

export function withPermission(caller: Caller, permission: Permission): Caller {
  return { ...caller, permissions: new Set([...caller.permissions, permission]) };
}
