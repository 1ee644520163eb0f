import { z } from 'zod';
import { limits } from '../../common/limits.ts';
import { permissionNames } from '../auth/permissions.ts';
import { contract, moment, pageOf, pathText } from './contract.ts';
import { pageParameters } from './fields.ts';

const tokenView = z
  .object({
    id: z.string(),
    name: z.string(),
    owner: z.string().nullable().describe("null for one made on the collector's machine"),
    permissions: z.array(z.enum(permissionNames)).describe("what it is for; less where its owner's role allows less"),
    created_at: moment,
    expires_at: moment,
    last_used_at: moment.nullable().describe('to the minute'),
    revoked_at: moment.nullable(),
  })
  .meta({ id: 'ApiToken' });

export const tokenList = contract({
  operation: 'tokens.list',
  method: 'get',
  path: '/api/v1/tokens',
  permission: 'tokens.own',
  summary: "Your API tokens; everybody's for administrators",
  query: z.strictObject(pageParameters),
  answers: { 200: pageOf(tokenView) },
});

export const tokenCreate = contract({
  operation: 'tokens.create',
  recordsItself: true,
  // The token is in the answer.
  idempotency: false,
  method: 'post',
  path: '/api/v1/tokens',
  permission: 'tokens.own',
  summary: 'Make an API token with some of your permissions',
  body: z.strictObject({
    name: z.string().max(limits.maxApiTokenNameChars),
    permissions: z.array(z.enum(permissionNames)).max(permissionNames.length),
    for_seconds: z
      .int()
      .min(limits.minApiTokenMs / 1_000)
      .max(limits.maxApiTokenMs / 1_000)
      .default(limits.apiTokenMs / 1_000),
  }),
  bodyIs: 'an API token',
  answers: { 201: tokenView.extend({ secret: z.string().describe('the token; nobody can show it again') }) },
});

export const tokenRevoke = contract({
  operation: 'tokens.revoke',
  recordsItself: true,
  method: 'delete',
  path: '/api/v1/tokens/:id',
  permission: 'tokens.own',
  summary: "End an API token of yours; anybody's for administrators",
  params: z.object({ id: pathText }),
  answers: { 200: z.object({ id: z.string(), revoked: z.literal(true) }) },
});
