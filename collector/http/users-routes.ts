import { z } from 'zod';
import { userChange, userCreate, userList, userShow } from '../api/users-contract.ts';
import type { AuthPorts, User } from '../auth/ports.ts';
import { changeUser, createUser, listUsers, showUser } from '../auth/users.ts';
import { page } from './paging.ts';
import type { Serve } from './serving.ts';

/** Never with the hash of the password. */
export function userView({ name, role, createdAtMs, passwordChangedAtMs, lockedAtMs }: User) {
  return {
    ...{ name, role, created_at: new Date(createdAtMs), password_changed_at: new Date(passwordChangedAtMs) },
    locked_at: lockedAtMs === null ? null : new Date(lockedAtMs),
  };
}

const paging = { list: 'users', key: z.string(), keyOf: ({ name }: User) => name, show: userView };

export function addUsersRoutes(serve: Serve, ports: AuthPorts): void {
  serve.json(userList, ({ query }) => page(paging, query, (at) => listUsers(ports, at)));
  serve.json(userShow, async ({ params }) => userView(await showUser(ports, params.name)));
  serve.json(userCreate, async ({ body, caller, address, requestId }) =>
    userView(await createUser(ports, caller, body, { address, requestId })),
  );
  serve.json(userChange, async ({ params, body, caller, address, requestId }) =>
    userView(await changeUser(ports, caller, { ...body, name: params.name }, { address, requestId })),
  );
}
