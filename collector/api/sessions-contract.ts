import { z } from 'zod';
import { permissionNames, roles } from '../auth/permissions.ts';
import { contract, moment, pageOf, pathText } from './contract.ts';
import { pageParameters } from './fields.ts';
import { userView } from './users-contract.ts';

/*
 * Signing in and out, and who one is. See docs/sign-in.md.
 */

/** Longer ones are nobody's; this bounds what is looked at. */
const typed = z.string().max(1_024);

const sessionView = z
  .object({
    id: z.string(),
    user: z.string(),
    address: z.string().nullable().describe('where it was begun'),
    created_at: moment,
    refreshed_at: moment,
    expires_at: moment.describe('its end, however it is used'),
    idle_at: moment.describe('its end unless it is refreshed before'),
  })
  .meta({ id: 'Session' });

const signedIn = z
  .object({
    session: sessionView,
    role: z.enum(roles),
    token_type: z.literal('Bearer'),
    access_token: z.string(),
    access_expires_at: moment,
    refresh_token: z.string().describe('for one use; nobody can show it again'),
  })
  .meta({ id: 'SignedIn' });

export const sessionStart = contract({
  operation: 'sessions.start',
  recordsItself: true,
  // Passwords and tokens leave no trace, not even a hash.
  idempotency: false,
  rate: 'sign_in',
  method: 'post',
  path: '/api/v1/sessions',
  permission: 'sessions.start',
  summary: 'Sign in with name and password',
  body: z.strictObject({ name: typed, password: typed }),
  bodyIs: 'a name and a password',
  answers: { 201: signedIn },
});

export const sessionRefresh = contract({
  operation: 'sessions.refresh',
  recordsItself: true,
  idempotency: false,
  method: 'post',
  path: '/api/v1/sessions/refresh',
  permission: 'sessions.start',
  summary: 'New tokens for a refresh token; one that was used before ends its session',
  body: z.strictObject({ refresh_token: typed }),
  bodyIs: 'a refresh token',
  answers: { 200: signedIn },
});

export const sessionList = contract({
  operation: 'sessions.list',
  method: 'get',
  path: '/api/v1/sessions',
  permission: 'sessions.own',
  summary: 'Your sessions that stand',
  query: z.strictObject(pageParameters),
  answers: { 200: pageOf(sessionView.extend({ current: z.boolean().describe('the one that asks') })) },
});

export const sessionEnd = contract({
  operation: 'sessions.end',
  recordsItself: true,
  method: 'delete',
  path: '/api/v1/sessions/:id',
  permission: 'sessions.own',
  summary: 'Sign out: end one of your sessions, or with "current" the one that asks',
  params: z.object({ id: pathText }),
  answers: { 200: z.object({ id: z.string(), ended: z.literal(true) }) },
});

export const setup = contract({
  operation: 'setup.perform',
  recordsItself: true,
  // Passwords and tokens leave no trace, not even a hash.
  idempotency: false,
  rate: 'sign_in',
  method: 'post',
  path: '/api/v1/setup',
  permission: 'sessions.start',
  summary: 'Make the first administrator with the code that the collector printed at its start',
  body: z.strictObject({ code: typed, name: typed, password: typed }),
  bodyIs: 'a setup code, a name and a password',
  answers: { 201: userView },
});

export const whoami = contract({
  operation: 'self.show',
  method: 'get',
  path: '/api/v1/whoami',
  permission: 'self.read',
  summary: 'Who you are, and what you may do',
  answers: {
    200: z.object({
      actor: z.string().describe('as it goes on record'),
      role: z.enum(roles),
      user: z.string().nullable(),
      session: z.string().nullable(),
      token: z.string().nullable().describe('id of the API token that asks'),
      permissions: z.array(z.enum(permissionNames)),
    }),
  },
});

export const passwordChange = contract({
  operation: 'self.change_password',
  recordsItself: true,
  idempotency: false,
  rate: 'sign_in',
  method: 'post',
  path: '/api/v1/whoami/password',
  permission: 'sessions.own',
  summary: 'Change your password; all your sessions end',
  body: z.strictObject({ current_password: typed, new_password: typed }),
  bodyIs: 'a change of a password',
  answers: { 200: z.object({ user: z.string(), changed: z.literal(true) }) },
});
