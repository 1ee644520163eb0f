import { z } from 'zod';
import { tokenCreate, tokenList, tokenRevoke } from '../api/tokens-contract.ts';
import { createApiToken, listApiTokens, revokeApiToken } from '../auth/api-tokens.ts';
import type { ApiToken, AuthPorts } from '../auth/ports.ts';
import { page } from './paging.ts';
import type { Serve } from './serving.ts';

const paging = { list: 'tokens', key: z.string(), keyOf: ({ id }: ApiToken) => id, show: tokenView };

/** Never with the secret. */
function tokenView({ id, name, owner, permissions, ...times }: ApiToken) {
  return {
    ...{ id, name, owner, permissions: [...permissions] },
    created_at: new Date(times.createdAtMs),
    expires_at: new Date(times.expiresAtMs),
    last_used_at: times.lastUsedAtMs === null ? null : new Date(times.lastUsedAtMs),
    revoked_at: times.revokedAtMs === null ? null : new Date(times.revokedAtMs),
  };
}

export function addTokensRoutes(serve: Serve, ports: AuthPorts): void {
  serve.json(tokenList, ({ query, caller }) => page(paging, query, (at) => listApiTokens(ports, caller, at)));
  serve.json(tokenCreate, async ({ body, caller, requestId }) => {
    const { name, permissions, for_seconds } = body;
    const wish = { name, permissions, lastsMs: for_seconds * 1_000 };
    const { secret, ...token } = await createApiToken(ports, caller, wish, { requestId });
    return { ...tokenView(token), secret };
  });
  serve.json(tokenRevoke, async ({ params, caller, requestId }) => {
    await revokeApiToken(ports, caller, params.id, { requestId });
    return { id: params.id, revoked: true as const };
  });
}
