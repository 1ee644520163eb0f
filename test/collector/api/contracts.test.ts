import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { z } from 'zod';
import { type Contract, isMedia } from '../../../collector/api/contract.ts';
import { contracts } from '../../../collector/api/contracts.ts';
import { desiredRefresh } from '../../../collector/api/governance-contract.ts';
import { anonymous, type Caller, local } from '../../../collector/auth/caller.ts';
import { permissionNames, permissions, permissionsOf, roles } from '../../../collector/auth/permissions.ts';
import { createRequestAudit } from '../../../collector/http/request-audit.ts';
import type { createServing } from '../../../collector/http/serving.ts';
import type { Statement } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { servedTo } from '../../serving.ts';

/** A handler that only says that it was reached. */
function reached(serve: ReturnType<typeof createServing>, contract: Contract): void {
  serve.raw(contract, async (_, c) => c.text('reached'));
}

const pathOf = ({ path }: Contract) => path.replace(/:[a-z]+(\{.+?\})?/g, '0');

describe('the contracts', () => {
  test('have a name and a place of their own', () => {
    const operations = contracts.map(({ operation }) => operation);
    assert.equal(new Set(operations).size, operations.length);
    const places = contracts.flatMap(({ method, path, aliases }) => [path, ...aliases].map((p) => `${method} ${p}`));
    assert.equal(new Set(places).size, places.length);
    for (const operation of operations) assert.match(operation, /^[a-z_]+\.[a-z_]+$/);
  });

  test('each name a permission that is in the table', () => {
    for (const { operation, permission } of contracts) assert.ok(permissionNames.includes(permission), operation);
  });

  test('declare every parameter of their path', () => {
    for (const { operation, path, params } of contracts) {
      const named = [...path.matchAll(/:([a-z]+)/g)].map(([, name]) => name);
      assert.deepEqual(Object.keys(params.shape).sort(), named.sort(), operation);
    }
  });

  test('can all be written as JSON Schema', () => {
    for (const { body, query, answers } of contracts) {
      z.toJSONSchema(query, { io: 'input' });
      if (!(body instanceof z.ZodUndefined)) z.toJSONSchema(body, { io: 'input' });
      for (const answer of Object.values(answers)) if (!isMedia(answer)) z.toJSONSchema(answer);
    }
  });
});

describe('the gate', () => {
  const tableau = roles.flatMap((role) => contracts.map((contract) => ({ role, contract })));

  test('lets each role through to what the table gives it, and to nothing else', async () => {
    const callers = new Map(
      roles.map((role): [string, Caller] => [role, { actor: role, role, permissions: permissionsOf(role) }]),
    );
    for (const { role, contract } of tableau) {
      const caller = callers.get(role) ?? anonymous;
      const app = servedTo(caller, (serve) => reached(serve, contract));
      const answer = await app.request(pathOf(contract), { method: contract.method.toUpperCase() });
      const allowed = permissions[contract.permission].roles.includes(caller.role);
      const [forbidden, what] = [role === 'anonymous' ? 401 : 403, `${role} ${contract.operation}`];
      // A body that is missing, or a query, is looked at only once the gate is passed.
      if (allowed) assert.ok(![401, 403].includes(answer.status), what);
      else assert.equal(answer.status, forbidden, what);
    }
  });

  test('puts on record who was refused what, once a minute, and every write that does not do so itself', async () => {
    const recorded: Statement[] = [];
    const clock = { nowMs: 0, monotonicMs: () => clock.nowMs };
    const ledger = { record: async (statement: Statement) => void recorded.push(statement) };
    const audit = createRequestAudit({ ledger, clock, logger: quietLogger });
    const observer: Caller = { actor: 'user:olga', role: 'observer', permissions: permissionsOf('observer') };
    const app = servedTo(
      observer,
      (serve) => {
        for (const contract of contracts) reached(serve, contract);
      },
      { audit },
    );
    const refused = () => app.request('/api/v1/orders/0/reject', { method: 'POST' });
    await refused();
    await refused();
    await app.request('/api/v1/orders');
    clock.nowMs = limits.refusalTellMs;
    await refused();
    const subject = 'orders.reject';
    const event = { event: 'permission.refused', actor: 'user:olga', subject, requestId: 'test' };
    assert.deepEqual(
      recorded.map(({ body }) => body),
      [
        { ...event, detail: 'observer' },
        { ...event, detail: 'observer; 1 more since the last one on record' },
      ],
    );
    recorded.length = 0;
    const admin = servedTo(local, (serve) => reached(serve, desiredRefresh), { audit });
    await admin.request('/api/v1/desired/refresh', { method: 'POST' });
    const body = { event: 'api.written', actor: 'local', subject: 'desired.refresh', requestId: 'test' };
    assert.deepEqual(recorded, [{ kind: 'auth.event', body: { ...body, detail: '/api/v1/desired/refresh' } }]);
  });
});

test('nobody but an administrator may what only administrators may', () => {
  for (const name of ['users.manage', 'tokens.manage', 'breakers.reset', 'dead_letters.manage'] as const) {
    assert.deepEqual(permissions[name].roles, ['admin']);
  }
});
