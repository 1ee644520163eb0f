import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { createApiToken, listApiTokens, revokeApiToken } from '../../../collector/auth/api-tokens.ts';
import { anonymous, type Caller, local } from '../../../collector/auth/caller.ts';
import { type Permission, permissionsOf } from '../../../collector/auth/permissions.ts';
import type { UserRole } from '../../../collector/auth/ports.ts';
import { signIn, signOut } from '../../../collector/auth/sessions.ts';
import { makeSetupCode, setUp } from '../../../collector/auth/setup.ts';
import { changePassword, changeUser, createUser, listUsers, showUser } from '../../../collector/auth/users.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { type AuthWorld, bearer, openAuthWorld, password, withAdmin } from './auth-world.ts';

let postgres: TestPostgres;
let world: AuthWorld;

before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());
afterEach(() => world.stop());
beforeEach(async () => {
  world = await openAuthWorld(postgres);
});

const refused = { code: 'auth.token' };
const conflict = { code: 'state.conflict' };
const page = { after: undefined, limit: 100 };

function ports(collector = 0) {
  return world.collectors[collector === 0 ? 0 : 1].ports;
}

async function codes(answers: readonly Promise<unknown>[]): Promise<readonly string[]> {
  const of = (thrown: unknown) => (thrown instanceof AppError ? thrown.code : String(thrown));
  return (await Promise.all(answers.map((one) => one.then(() => 'done', of)))).sort();
}

async function eventNames(): Promise<readonly string[]> {
  return (await world.events()).map(({ event }) => event);
}

async function entered(name: string, collector = 0): Promise<Caller> {
  const { accessToken } = await signIn(ports(collector), { name, password });
  return world.collectors[collector === 0 ? 0 : 1].authenticate(bearer(accessToken));
}

async function userAs(name: string, role: UserRole): Promise<Caller> {
  await createUser(ports(), local, { name, role, password });
  return entered(name);
}

describe('the first administrator', () => {
  test('is made once with one code, however many ask at the same time', async () => {
    const code = (await makeSetupCode(ports())) ?? '';
    assert.match(code, /^sws_[A-Za-z0-9_-]{43}$/);
    const tries = Array.from({ length: 40 }, (_, at) => setUp(ports(at % 2), { code, name: `admin${at}`, password }));
    const answers = await codes(tries);
    assert.equal(answers.filter((one) => one === 'done').length, 1);
    assert.deepEqual([...new Set(answers)].sort(), ['done', 'state.conflict']);
    const users = await listUsers(ports(), page);
    assert.deepEqual(
      users.map(({ role }) => role),
      ['admin'],
    );
    assert.deepEqual(await eventNames(), ['setup_code.created', 'setup.done']);
    assert.equal(await makeSetupCode(ports()), undefined);
    assert.equal((await world.everythingKept()).includes(code), false);
  });

  test('is not made with a code that is older, made up or too late, and no password is hashed for that', async () => {
    const { hash } = world.hasher;
    world.hasher.hash = () => assert.fail('hashed');
    const old = (await makeSetupCode(ports())) ?? '';
    const code = (await makeSetupCode(ports(1))) ?? '';
    for (const bad of [old, '', 'sws_', `${code}x`, `sws_${randomBytes(32).toString('base64url')}`]) {
      await assert.rejects(setUp(ports(), { code: bad, name: 'ada', password }), refused, bad);
    }
    world.pass(limits.setupCodeMs);
    await assert.rejects(setUp(ports(), { code, name: 'ada', password }), refused);
    world.hasher.hash = hash;
    const fresh = (await makeSetupCode(ports())) ?? '';
    await assert.rejects(setUp(ports(), { code: fresh, name: 'ada', password: 'short' }), { code: 'validation.body' });
    assert.equal((await setUp(ports(), { code: fresh, name: 'Ada', password })).name, 'ada');
  });

  test('collectors that start at once leave one code that is good', async () => {
    const made = await Promise.all(Array.from({ length: 8 }, (_, at) => makeSetupCode(ports(at % 2))));
    const good: string[] = [];
    for (const code of made) {
      await setUp(ports(), { code: code ?? '', name: 'ada', password: 'short' }).catch((thrown: unknown) => {
        if (thrown instanceof AppError && thrown.code === 'validation.body') good.push(code ?? '');
      });
    }
    assert.equal(good.length, 1);
  });
});

describe('users', () => {
  beforeEach(() => withAdmin(world));

  test('are made, shown, listed by name and changed, each on record with who did it', async () => {
    const by = await entered('root');
    await createUser(ports(), by, { name: 'Bob', role: 'developer', password }, { requestId: 'r1' });
    await changeUser(ports(), by, { name: 'bob', role: 'observer', locked: true, password: 'another good one' });
    const { role, lockedAtMs } = await showUser(ports(), 'bob');
    assert.equal(role, 'observer');
    assert.equal(typeof lockedAtMs, 'number');
    const shown = await listUsers(ports(), { after: 'bob', limit: 1 });
    assert.deepEqual(
      shown.map(({ name }) => name),
      ['root'],
    );
    assert.equal(JSON.stringify([shown, await showUser(ports(), 'bob')]).includes('assword_hash'), false);
    const said = (await world.events())
      .slice(-2)
      .map(({ event, actor, subject, detail }) => [event, actor, subject, detail]);
    assert.deepEqual(said, [
      ['user.created', 'user:root', 'user:bob', 'as developer'],
      ['user.changed', 'user:root', 'user:bob', 'role developer -> observer, locked, new password'],
    ]);
    assert.equal((await world.events()).at(-2)?.requestId, 'r1');
  });

  test('a name is taken once, in whatever capitals and however many ask', async () => {
    const tries = ['bob', 'Bob', 'BOB', 'bOb'].map((name, at) =>
      createUser(ports(at % 2), local, { name, role: 'observer', password }),
    );
    assert.deepEqual(await codes(tries), ['done', 'state.conflict', 'state.conflict', 'state.conflict']);
  });

  test('what changes nothing is not on record', async () => {
    const before = await eventNames();
    await changeUser(ports(), local, { name: 'root', role: 'admin', locked: false });
    assert.deepEqual(await eventNames(), before);
    await assert.rejects(changeUser(ports(), local, { name: 'nobody', locked: true }), { code: 'resource.not_found' });
  });

  test('the last administrator who can sign in stays one, also when two take each other away', async () => {
    await assert.rejects(changeUser(ports(), local, { name: 'root', role: 'operator' }), conflict);
    await assert.rejects(changeUser(ports(), local, { name: 'root', locked: true }), conflict);
    await createUser(ports(), local, { name: 'second', role: 'admin', password });
    const each = [
      changeUser(ports(0), local, { name: 'root', locked: true }),
      changeUser(ports(1), local, { name: 'second', role: 'observer' }),
    ];
    assert.deepEqual(await codes(each), ['done', 'state.conflict']);
    const users = await listUsers(ports(), page);
    assert.equal(users.filter(({ role, lockedAtMs }) => role === 'admin' && lockedAtMs === null).length, 1);
  });

  test('nothing is changed that does not go on record', async () => {
    const broken = { record: () => Promise.reject(new AppError('ledger.tampered', 'no')) };
    const mute = { ...ports(), ledger: broken };
    const tampered = { code: 'ledger.tampered' };
    await assert.rejects(createUser(mute, local, { name: 'bob', role: 'admin', password }), tampered);
    await assert.rejects(changeUser(mute, local, { name: 'root', password: 'another good one' }), tampered);
    await assert.rejects(signIn(mute, { name: 'root', password }), tampered);
    await assert.rejects(createApiToken(mute, local, { name: 'ci', permissions: ['fleet.read'] }), tampered);
    await assert.rejects(showUser(ports(), 'bob'), { code: 'resource.not_found' });
    await signIn(ports(), { name: 'root', password });
    await createApiToken(ports(), local, { name: 'ci', permissions: ['fleet.read'] });
    const { rows } = await world.db.query('select count(*)::int as standing from api_tokens where revoked_at is null');
    assert.deepEqual(rows, [{ standing: 1 }]);
  });
});

describe('an API token', () => {
  beforeEach(() => withAdmin(world));

  test('acts for its owner with what it was made for, at every collector', async () => {
    const ada = await userAs('ada', 'operator');
    const made = await createApiToken(ports(), ada, { name: 'ci', permissions: ['fleet.read', 'orders.issue'] });
    assert.match(made.secret, /^swk_[A-Za-z0-9_-]{43}$/);
    assert.equal(made.expiresAtMs - made.createdAtMs, limits.apiTokenMs);
    for (const { authenticate } of world.collectors) {
      const caller = await authenticate(bearer(made.secret));
      assert.deepEqual([caller.actor, caller.role, caller.user], ['token:ada/ci', 'operator', 'ada']);
      assert.deepEqual([...caller.permissions], ['self.read', 'fleet.read', 'orders.issue']);
    }
    assert.equal((await world.everythingKept()).includes(made.secret), false);
    assert.equal((await world.events()).at(-1)?.detail, 'token:ada/ci, for 2160 h: fleet.read orders.issue');
  });

  test('has never more than its owner: not when it is made, and not when the owner has less later', async () => {
    const ada = await userAs('ada', 'operator');
    const wish = (permissions: readonly Permission[]) => createApiToken(ports(), ada, { name: 'ci', permissions });
    await assert.rejects(wish(['fleet.read', 'users.manage']), {
      code: 'auth.forbidden',
      details: { permission: 'users.manage' },
    });
    const { secret } = await wish(['fleet.read', 'orders.issue']);
    const [{ authenticate }] = world.collectors;
    await changeUser(ports(), local, { name: 'ada', role: 'observer' });
    assert.deepEqual([...(await authenticate(bearer(secret))).permissions], ['self.read', 'fleet.read']);
    await changeUser(ports(), local, { name: 'ada', role: 'admin' });
    assert.deepEqual(
      [...(await authenticate(bearer(secret))).permissions],
      ['self.read', 'fleet.read', 'orders.issue'],
    );
    await changeUser(ports(), local, { name: 'ada', locked: true });
    await assert.rejects(authenticate(bearer(secret)), refused);
  });

  test("made on the collector's machine needs no user, and can be for everything", async () => {
    const { secret } = await createApiToken(ports(), local, { name: 'main', permissions: [...local.permissions] });
    const caller = await world.collectors[1].authenticate(bearer(secret));
    assert.deepEqual([caller.actor, caller.role, caller.user], ['token:main', 'admin', undefined]);
    assert.deepEqual(caller.permissions, permissionsOf('admin'));
  });

  test('makes no other token, has no password to change and no session to end', async () => {
    const { secret } = await createApiToken(ports(), await entered('root'), {
      name: 'ci',
      permissions: [...local.permissions],
    });
    const caller = await world.collectors[0].authenticate(bearer(secret));
    const forbidden = { code: 'auth.forbidden' };
    await assert.rejects(createApiToken(ports(), caller, { name: 'ci2', permissions: ['fleet.read'] }), forbidden);
    await assert.rejects(createApiToken(ports(), anonymous, { name: 'ci2', permissions: ['fleet.read'] }), forbidden);
    await assert.rejects(changePassword(ports(), caller, { current: password, next: 'another good one' }), forbidden);
    await assert.rejects(signOut(ports(), caller), forbidden);
  });

  test('ends with its time, at most a year ahead, and when it is revoked: at once here, within a second elsewhere', async () => {
    const wish = { name: 'ci', permissions: ['fleet.read'] as const };
    for (const lastsMs of [0, -1, Number.NaN, 1.5, limits.maxApiTokenMs + 1]) {
      await assert.rejects(createApiToken(ports(), local, { ...wish, lastsMs }), { code: 'validation.body' });
    }
    const [here, there] = world.collectors;
    const short = await createApiToken(ports(), local, { ...wish, lastsMs: 60_000 });
    await assert.rejects(createApiToken(ports(), local, wish), conflict);
    world.pass(60_000);
    await assert.rejects(here.authenticate(bearer(short.secret)), refused);
    const second = await createApiToken(ports(), local, wish);
    await there.authenticate(bearer(second.secret));
    await here.authenticate(bearer(second.secret));
    await revokeApiToken(ports(), local, second.id);
    await assert.rejects(here.authenticate(bearer(second.secret)), refused);
    world.pass(limits.standingBelievedMs);
    await assert.rejects(there.authenticate(bearer(second.secret)), refused);
    await assert.rejects(revokeApiToken(ports(), local, second.id), conflict);
    assert.equal((await world.events()).at(-1)?.event, 'api_token.revoked');
  });

  test('is seen and revoked by its owner and by administrators, and by nobody else', async () => {
    const [ada, bob] = [await userAs('ada', 'operator'), await userAs('bob', 'operator')];
    const mine = await createApiToken(ports(), ada, { name: 'ci', permissions: ['fleet.read'] });
    const his = await createApiToken(ports(), bob, { name: 'ci', permissions: ['fleet.read'] });
    const seen = async (caller: Caller) => (await listApiTokens(ports(), caller, page)).map(({ id }) => id).sort();
    assert.deepEqual(await seen(ada), [mine.id]);
    assert.deepEqual(await seen(await entered('root')), [mine.id, his.id].sort());
    assert.deepEqual(await seen(anonymous), []);
    await assert.rejects(revokeApiToken(ports(), ada, his.id), { code: 'resource.not_found' });
    await revokeApiToken(ports(), ada, mine.id);
    await revokeApiToken(ports(), await entered('root'), his.id);
    assert.equal(JSON.stringify(await listApiTokens(ports(), local, page)).includes(his.secret), false);
  });

  test('no owner has more than a hundred, also when many are made at once', async () => {
    const names = Array.from({ length: limits.maxApiTokensPerOwner + 10 }, (_, at) => `ci-${at}`);
    const made = names.map((name, at) => createApiToken(ports(at % 2), local, { name, permissions: ['fleet.read'] }));
    const answers = await codes(made);
    assert.equal(answers.filter((one) => one === 'done').length, limits.maxApiTokensPerOwner);
    assert.equal(answers.filter((one) => one === 'state.conflict').length, 10);
  });

  test('its use is written down at most once a minute', async () => {
    const { secret, id } = await createApiToken(ports(), local, { name: 'ci', permissions: ['fleet.read'] });
    const use = async () => {
      for (const { authenticate } of world.collectors) await authenticate(bearer(secret));
      return (await ports().apiTokens.token(id))?.lastUsedAtMs ?? 0;
    };
    const first = await use();
    assert.ok(first > 0);
    world.pass(limits.apiTokenUseNotedMs / 2);
    assert.equal(await use(), first);
    world.pass(limits.apiTokenUseNotedMs);
    assert.ok((await use()) > first);
  });
});
