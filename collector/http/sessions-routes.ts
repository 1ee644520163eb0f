import { z } from 'zod';
import {
  passwordChange,
  sessionEnd,
  sessionList,
  sessionRefresh,
  sessionStart,
  setup,
  whoami,
} from '../api/sessions-contract.ts';
import type { AuthPorts, Session } from '../auth/ports.ts';
import { ownSessions, refreshSession, type SignedIn, signIn, signOut } from '../auth/sessions.ts';
import { setUp } from '../auth/setup.ts';
import { changePassword } from '../auth/users.ts';
import { type Paging, page } from './paging.ts';
import type { Asked, Serve } from './serving.ts';
import { userView } from './users-routes.ts';

/** Signing in and out, and who one is. */
export function addSessionsRoutes(serve: Serve, ports: AuthPorts): void {
  serve.json(sessionStart, async (asked) => shown(await signIn(ports, { ...asked.body, ...from(asked) })));
  serve.json(sessionRefresh, async (asked) =>
    shown(await refreshSession(ports, asked.body.refresh_token, from(asked))),
  );
  serve.json(setup, async (asked) => userView(await setUp(ports, { ...asked.body, ...from(asked) })));
  serve.json(sessionList, ({ query, caller }) =>
    page(pagingFor(caller.session), query, (at) => ownSessions(ports, caller, at)),
  );
  serve.json(sessionEnd, async ({ params, caller, ...rest }) => {
    const id = params.id === 'current' ? caller.session : params.id;
    await signOut(ports, caller, from(rest), id);
    return { id: id ?? '', ended: true as const };
  });
  serve.json(whoami, async ({ caller: { actor, role, user, session, token, permissions } }) => ({
    ...{ actor, role, user: user ?? null, session: session ?? null, token: token ?? null },
    permissions: [...permissions],
  }));
  serve.json(passwordChange, async ({ body, caller, ...rest }) => {
    const change = { current: body.current_password, next: body.new_password, ...from(rest) };
    await changePassword(ports, caller, change);
    return { user: caller.user ?? '', changed: true as const };
  });
}

/** Where a request comes from, as it goes on record. */
export function from({
  address,
  requestId,
}: Pick<Asked<z.ZodObject, z.ZodObject, z.ZodType>, 'address' | 'requestId'>) {
  return { address, requestId };
}

function shown({ session, role, accessToken, accessExpiresAtMs, refreshToken }: SignedIn) {
  return {
    ...{ session: sessionView(session), role, token_type: 'Bearer' as const },
    ...{ access_token: accessToken, access_expires_at: new Date(accessExpiresAtMs), refresh_token: refreshToken },
  };
}

function sessionView({ id, user, address, ...times }: Session) {
  return {
    ...{ id, user, address },
    created_at: new Date(times.createdAtMs),
    refreshed_at: new Date(times.refreshedAtMs),
    expires_at: new Date(times.expiresAtMs),
    idle_at: new Date(times.idleAtMs),
  };
}

function pagingFor(current: string | undefined) {
  return {
    list: 'sessions',
    key: z.string(),
    keyOf: ({ id }: Session) => id,
    show: (session: Session) => ({ ...sessionView(session), current: session.id === current }),
  } satisfies Paging<Session, string, unknown>;
}
