import { z } from 'zod';
import { roles } from '../auth/permissions.ts';
import { contract, moment, pageOf, pathText } from './contract.ts';
import { pageParameters } from './fields.ts';

export const userRole = z.enum(roles).exclude(['anonymous']);
const typed = z.string().max(1_024);
const named = z.object({ name: pathText });

export const userView = z
  .object({
    name: z.string(),
    role: userRole,
    created_at: moment,
    password_changed_at: moment,
    locked_at: moment.nullable().describe('since when nobody may sign in with it'),
  })
  .meta({ id: 'User' });

export const userList = contract({
  operation: 'users.list',
  method: 'get',
  path: '/api/v1/users',
  permission: 'users.manage',
  summary: 'Users, by name',
  query: z.strictObject(pageParameters),
  answers: { 200: pageOf(userView) },
});

export const userShow = contract({
  operation: 'users.show',
  method: 'get',
  path: '/api/v1/users/:name',
  permission: 'users.manage',
  summary: 'One user',
  params: named,
  answers: { 200: userView },
});

export const userCreate = contract({
  operation: 'users.create',
  recordsItself: true,
  // What is kept of a request with a password could be used to guess it.
  idempotency: false,
  method: 'post',
  path: '/api/v1/users',
  permission: 'users.manage',
  summary: 'Make a user',
  body: z.strictObject({ name: typed, role: userRole, password: typed }),
  bodyIs: 'a user',
  answers: { 201: userView },
});

export const userChange = contract({
  operation: 'users.change',
  recordsItself: true,
  // What is kept of a request with a password could be used to guess it.
  idempotency: false,
  method: 'patch',
  path: '/api/v1/users/:name',
  permission: 'users.manage',
  summary: 'Change role, lock or password of a user; a lock and a new password end their sessions',
  params: named,
  body: z.strictObject({
    role: userRole.optional(),
    locked: z.boolean().optional(),
    password: typed.optional().describe('for somebody who has forgotten theirs'),
  }),
  bodyIs: 'a change of a user',
  answers: { 200: userView },
});
