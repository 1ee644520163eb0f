import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { createAuthenticator } from '../../../collector/auth/authenticate.ts';
import { local } from '../../../collector/auth/caller.ts';
import type { SessionStore } from '../../../collector/auth/ports.ts';
import { ownSessions, refreshSession, type SignedIn, signIn, signOut } from '../../../collector/auth/sessions.ts';
import { changePassword, changeUser, createUser } from '../../../collector/auth/users.ts';
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
  await withAdmin(world);
});

const refused = { code: 'auth.token' };
const wrong = { code: 'auth.credentials' };

function enter(name = 'root', text = password, address = '192.0.2.1', collector = 0): Promise<SignedIn> {
  const { ports } = world.collectors[collector === 0 ? 0 : 1];
  return signIn(ports, { name, password: text, address, requestId: `from ${address}` });
}

function codeOf(thrown: unknown): string {
  assert.ok(thrown instanceof AppError, String(thrown));
  return thrown.code;
}

/** How often each answer was given. */
async function tally(answers: readonly Promise<unknown>[]): Promise<Record<string, number>> {
  const counted: Record<string, number> = {};
  for (const answer of await Promise.all(answers.map((one) => one.then(() => 'done', codeOf)))) {
    counted[answer] = (counted[answer] ?? 0) + 1;
  }
  return counted;
}

describe('sign-in', () => {
  test('gives tokens that every collector takes, and goes on record with the request', async () => {
    const { accessToken, session } = await enter('Root');
    for (const { authenticate } of world.collectors) {
      const caller = await authenticate(bearer(accessToken));
      assert.deepEqual(
        [caller.actor, caller.role, caller.user, caller.session],
        ['user:root', 'admin', 'root', session.id],
      );
      assert.equal(caller.permissions.has('users.manage'), true);
    }
    const { detail, ...said } = (await world.events()).at(-1) ?? { detail: '' };
    const who = { actor: 'user:root', subject: 'user:root', requestId: 'from 192.0.2.1' };
    assert.deepEqual(said, { event: 'sign_in.succeeded', ...who });
    assert.equal(detail, `session ${session.id} from 192.0.2.1`);
  });

  test('a wrong name gets the same answer as a wrong password, after the same work; so does a locked user', async () => {
    const { ports } = world.collectors[0];
    await createUser(ports, local, { name: 'bob', role: 'observer', password });
    await changeUser(ports, local, { name: 'bob', locked: true });
    for (const [name, text] of [
      ['root', 'wrong'],
      ['nobody', password],
      ['<b>', password],
      ['bob', password],
    ] as const) {
      const before = world.hasher.looks;
      await assert.rejects(enter(name, text), { ...wrong, message: 'name or password is wrong' });
      assert.equal(world.hasher.looks, before + 1, name);
    }
  });

  test('nobody without a header, and nobody with one that is malformed or made up', async () => {
    const [{ authenticate }] = world.collectors;
    const { accessToken, refreshToken } = await enter();
    assert.equal((await authenticate(undefined)).role, 'anonymous');
    const bad = ['', 'Basic cm9vdDpyb290', 'Bearer', 'Bearer ', `Bearer ${accessToken} x`, `Token ${accessToken}`];
    bad.push(bearer(refreshToken), bearer(`swk_${'A'.repeat(43)}`), bearer('swo_x'), bearer('x'.repeat(10_000)));
    for (const header of bad) await assert.rejects(authenticate(header), refused, header);
  });

  test('a storm with one token asks the database once a second, and what was refused is looked at each time', async () => {
    const { ports } = world.collectors[0];
    const { accessToken } = await enter();
    let looks = 0;
    const sessions: SessionStore = {
      ...ports.sessions,
      standing: (...asked) => {
        looks += 1;
        return ports.sessions.standing(...asked);
      },
    };
    const { authenticate } = createAuthenticator({ ...ports, sessions });
    const storm = () => Promise.all(Array.from({ length: 200 }, () => authenticate(bearer(accessToken))));
    await storm();
    await storm();
    assert.equal(looks, 1);
    world.pass(limits.standingBelievedMs);
    await storm();
    assert.equal(looks, 2);
    await signOut(ports, await authenticate(bearer(accessToken)));
    world.pass(limits.standingBelievedMs);
    for (let at = 0; at < 3; at += 1) await assert.rejects(authenticate(bearer(accessToken)), refused);
    assert.equal(looks, 5);
  });

  test('after 50 sessions of one user the one refreshed longest ago ends', async () => {
    const sessions: SignedIn[] = [];
    for (let at = 0; at <= limits.maxSessionsPerUser; at += 1) {
      sessions.push(await enter());
      world.pass(10);
    }
    const { ports } = world.collectors[0];
    await assert.rejects(refreshSession(ports, sessions[0]?.refreshToken ?? ''), refused);
    await refreshSession(ports, sessions[1]?.refreshToken ?? '');
  });
});

describe('a lockout', () => {
  test('of 1,000 parallel guesses from as many addresses at two collectors ten are looked at, and not one more', async () => {
    const guesses = Array.from({ length: 1_000 }, (_, at) =>
      enter('root', `guess ${at}`, `198.51.${at >> 8}.${at & 255}`, at % 2),
    );
    const answers = await tally(guesses);
    assert.deepEqual(answers, { 'auth.credentials': 10, 'rate_limit.exceeded': 990 });
    assert.equal(world.hasher.looks, limits.signInFailuresPerName);
    // Not even with the right one, and from elsewhere.
    await assert.rejects(enter('root', password, '203.0.113.1'), (thrown) => {
      assert.ok(thrown instanceof AppError && thrown.code === 'rate_limit.exceeded');
      const seconds = Number(thrown.details.retryAfterSeconds);
      return seconds > 0 && seconds * 1000 <= limits.signInWindowMs;
    });
    assert.equal(world.hasher.looks, limits.signInFailuresPerName);
  });

  test('a flood leaves two entries: its first failure, and the lockout with the count', async () => {
    const before = (await world.events()).length;
    await tally(Array.from({ length: 200 }, (_, at) => enter('ROOT', `guess ${at}`, `198.51.100.${at}`)));
    await world.collectors[0].settled();
    const said = (await world.events()).slice(before);
    assert.deepEqual(said.map(({ event, subject }) => [event, subject]).sort(), [
      ['sign_in.failed', 'user:root'],
      ['sign_in.locked', 'user:root'],
    ]);
    assert.match(
      said.find(({ event }) => event === 'sign_in.locked')?.detail ?? '',
      /^10 wrong passwords; none is looked at until 20/,
    );
  });

  test('made-up names from one address end at its limit; what was typed is kept nowhere', async () => {
    const before = (await world.events()).length;
    const names = Array.from({ length: 150 }, (_, at) => `hunter2-typed-as-name-${at}`);
    const answers = await tally(names.map((name) => enter(name, 'secret-that-was-typed', '2001:db8::1')));
    assert.deepEqual(answers, { 'auth.credentials': 100, 'rate_limit.exceeded': 50 });
    await world.collectors[0].settled();
    const said = (await world.events()).slice(before).map(({ subject, detail }) => [subject, detail.split(' ')[0]]);
    assert.deepEqual(said.sort(), [
      ['unknown', '1'],
      ['unknown', '10'],
      ['unknown', '100'],
    ]);
    const kept = await world.everythingKept();
    assert.equal(/hunter2|secret-that-was-typed/.test(kept), false);
    // Another address in the same /64 is the same subscriber; one elsewhere is not.
    await assert.rejects(enter('root', password, '2001:db8::ffff'), { code: 'rate_limit.exceeded' });
    await enter('root', password, '2001:db8:0:1::1');
  });

  test('an address that is refused does not use up the attempts of names', async () => {
    const names = Array.from({ length: 100 }, (_, at) => `name${at}`);
    await tally(names.map((name) => enter(name, 'wrong', '192.0.2.9')));
    await tally(Array.from({ length: 50 }, () => enter('root', 'wrong', '192.0.2.9')));
    await enter('root', password, '192.0.2.10');
  });

  test('success gives its attempt back, and leaves the failures as they are', async () => {
    for (let at = 0; at < 20; at += 1) await enter();
    for (let at = 0; at < 9; at += 1) await assert.rejects(enter('root', 'wrong'), wrong);
    for (let at = 0; at < 20; at += 1) await enter();
    await assert.rejects(enter('root', 'wrong'), wrong);
    await assert.rejects(enter(), { code: 'rate_limit.exceeded' });
  });

  test('what nobody looked at is given back', async () => {
    const { verify } = world.hasher;
    world.hasher.verify = async () => {
      throw new AppError('state.busy', 'too many', { retryable: true });
    };
    for (let at = 0; at < 30; at += 1) await assert.rejects(enter(), { code: 'state.busy' });
    world.hasher.verify = verify;
    await enter();
  });

  test('is over with its window, which tries in between do not make longer', async () => {
    await tally(Array.from({ length: 20 }, () => enter('root', 'wrong')));
    await world.passWindow(limits.signInWindowMs - 120_000);
    await assert.rejects(enter(), { code: 'rate_limit.exceeded' });
    await world.passWindow(120_000);
    await enter();
    assert.deepEqual(await tally(Array.from({ length: 20 }, () => enter('root', 'wrong', '192.0.2.77'))), {
      'auth.credentials': 10,
      'rate_limit.exceeded': 10,
    });
  });

  test('windows that are over are swept', async () => {
    await tally(Array.from({ length: 5 }, (_, at) => enter(`name${at}`, 'wrong')));
    await world.collectors[0].settled();
    await world.passWindow(limits.signInWindowMs);
    await enter('root', password, '192.0.2.200');
    await world.collectors[0].tidy();
    const { rows } = await world.db.query('select count(*)::int as rows from sign_in_attempts');
    assert.deepEqual(rows, [{ rows: 2 }]);
  });

  test('holds for the password that is asked for before it is changed, too', async () => {
    const { accessToken } = await enter();
    const [{ ports, authenticate }] = world.collectors;
    const caller = await authenticate(bearer(accessToken));
    const guess = (at: number) => changePassword(ports, caller, { current: `guess ${at}`, next: 'another good one' });
    const answers = await tally(Array.from({ length: 50 }, (_, at) => guess(at)));
    assert.deepEqual(answers, { 'auth.credentials': 10, 'rate_limit.exceeded': 40 });
  });
});

describe('a session', () => {
  test('is refreshed with a new token each time, at any collector', async () => {
    let { refreshToken, accessToken } = await enter();
    for (const { ports, authenticate } of world.collectors) {
      const next = await refreshSession(ports, refreshToken);
      assert.notEqual(next.refreshToken, refreshToken);
      assert.notEqual(next.accessToken, accessToken);
      ({ refreshToken, accessToken } = next);
      assert.equal((await authenticate(bearer(accessToken))).actor, 'user:root');
    }
  });

  test('a refresh token that was used before ends its session, once on record, and no other', async () => {
    const [stolen, other] = [await enter(), await enter()];
    const [{ ports, authenticate }, far] = world.collectors;
    const newer = await refreshSession(ports, stolen.refreshToken);
    await assert.rejects(refreshSession(far.ports, stolen.refreshToken, { address: '203.0.113.66' }), refused);
    for (const token of [newer.refreshToken, stolen.refreshToken]) {
      await assert.rejects(refreshSession(ports, token), refused);
    }
    await assert.rejects(far.authenticate(bearer(newer.accessToken)), refused);
    assert.equal((await authenticate(bearer(other.accessToken))).user, 'root');
    const said = (await world.events()).filter(({ event }) => event === 'session.refresh_reused');
    assert.equal(said.length, 1);
    assert.equal(said[0]?.actor, 'address:203.0.113.66');
    assert.match(said[0]?.detail ?? '', new RegExp(stolen.session.id));
  });

  test('of many refreshes at once with one token one wins, and the session ends', async () => {
    const { refreshToken } = await enter();
    const tries = Array.from({ length: 40 }, (_, at) =>
      refreshSession(world.collectors[at % 2 === 0 ? 0 : 1].ports, refreshToken),
    );
    const won = (await Promise.allSettled(tries)).flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    assert.equal(won.length, 1);
    await assert.rejects(refreshSession(world.collectors[0].ports, won[0]?.refreshToken ?? ''), refused);
    const said = (await world.events()).filter(({ event }) => event === 'session.refresh_reused');
    assert.equal(said.length, 1);
  });

  test('nobody ends it by a token that was made up, whatever they know of it', async () => {
    const { refreshToken, session } = await enter();
    const { ports } = world.collectors[0];
    for (const made of [
      `swr_${Buffer.from(session.id.repeat(4)).toString('base64url').slice(0, 86)}`,
      `swr_${session.id}`,
      'swr_',
    ]) {
      await assert.rejects(refreshSession(ports, made), refused);
    }
    await refreshSession(ports, refreshToken);
  });

  test('ends after its time however it is used, and sooner when it is not', async () => {
    const { ports, authenticate } = world.collectors[0];
    const idle = await enter();
    let used = await enter();
    for (let passed = 0; passed < limits.sessionMs - limits.sessionIdleMs; passed += limits.sessionIdleMs - 60_000) {
      world.pass(limits.sessionIdleMs - 60_000);
      used = await refreshSession(ports, used.refreshToken);
    }
    await assert.rejects(refreshSession(ports, idle.refreshToken), refused);
    world.pass(limits.sessionIdleMs - 60_000);
    const last = await refreshSession(ports, used.refreshToken).catch(() => undefined);
    assert.ok((last?.accessExpiresAtMs ?? 0) <= used.session.expiresAtMs);
    world.pass(limits.sessionIdleMs);
    await assert.rejects(refreshSession(ports, (last ?? used).refreshToken), refused);
    await assert.rejects(authenticate(bearer((last ?? used).accessToken)), refused);
    assert.equal(
      (await world.events()).some(({ event }) => event === 'session.refresh_reused'),
      false,
    );
  });

  test('ends when its user signs out: here at once, at another collector within a second', async () => {
    const { accessToken, refreshToken } = await enter();
    const [here, there] = world.collectors;
    const caller = await here.authenticate(bearer(accessToken));
    await there.authenticate(bearer(accessToken));
    await signOut(here.ports, caller);
    await assert.rejects(here.authenticate(bearer(accessToken)), refused);
    assert.equal((await there.authenticate(bearer(accessToken))).user, 'root');
    world.pass(limits.standingBelievedMs);
    await assert.rejects(there.authenticate(bearer(accessToken)), refused);
    await assert.rejects(refreshSession(here.ports, refreshToken), refused);
    await assert.rejects(signOut(here.ports, caller), { code: 'resource.not_found' });
    assert.equal((await world.events()).at(-1)?.event, 'session.ended');
  });

  test('is listed for its user only, and nobody ends that of another', async () => {
    const { ports, authenticate } = world.collectors[0];
    await createUser(ports, local, { name: 'bob', role: 'observer', password });
    const [mine, others] = [await enter('bob'), await enter('root')];
    const bob = await authenticate(bearer(mine.accessToken));
    const listed = await ownSessions(ports, bob, { after: undefined, limit: 10 });
    assert.deepEqual(
      listed.map(({ id }) => id),
      [mine.session.id],
    );
    await assert.rejects(signOut(ports, bob, {}, others.session.id), { code: 'resource.not_found' });
    await refreshSession(ports, others.refreshToken);
  });

  test('a role that was changed counts for tokens that are out already, and a lock ends them', async () => {
    const { ports, authenticate } = world.collectors[0];
    await createUser(ports, local, { name: 'bob', role: 'admin', password });
    const { accessToken, refreshToken } = await enter('bob');
    assert.equal((await authenticate(bearer(accessToken))).role, 'admin');
    await changeUser(ports, local, { name: 'bob', role: 'observer' });
    const now = await authenticate(bearer(accessToken));
    assert.deepEqual([now.role, now.permissions.has('users.manage')], ['observer', false]);
    await changeUser(ports, local, { name: 'bob', locked: true });
    await assert.rejects(authenticate(bearer(accessToken)), refused);
    await changeUser(ports, local, { name: 'bob', locked: false });
    await assert.rejects(authenticate(bearer(accessToken)), refused);
    await assert.rejects(refreshSession(ports, refreshToken), refused);
  });

  test('a new password ends all of them, and the old one does not come back', async () => {
    const { ports, authenticate } = world.collectors[0];
    const [one, two] = [await enter(), await enter()];
    const caller = await authenticate(bearer(one.accessToken));
    await changePassword(ports, caller, { current: password, next: 'another good one', requestId: 'r1' });
    for (const { accessToken, refreshToken } of [one, two]) {
      await assert.rejects(authenticate(bearer(accessToken)), refused);
      await assert.rejects(refreshSession(ports, refreshToken), refused);
    }
    await assert.rejects(enter(), wrong);
    await enter('root', 'another good one');
    assert.equal((await world.events()).find(({ event }) => event === 'password.changed')?.requestId, 'r1');
  });

  test('that is begun while the password is changed does not stand afterwards', async () => {
    const { ports } = world.collectors[0];
    const { hasher } = world;
    const { verify } = hasher;
    hasher.verify = async (known, text) => {
      const right = await verify(known, text);
      hasher.verify = verify;
      await changeUser(ports, local, { name: 'root', password: 'another good one' });
      return right;
    };
    await assert.rejects(enter(), wrong);
    const { rows } = await world.db.query('select count(*)::int as standing from sessions where ended_at is null');
    assert.deepEqual(rows, [{ standing: 0 }]);
  });

  test('no token and no password is kept in a form that opens anything', async () => {
    const { accessToken, refreshToken } = await enter();
    const kept = await world.everythingKept();
    const bytes = Buffer.from(refreshToken.slice(4), 'base64url');
    const secrets = [accessToken, refreshToken, password, bytes.toString('hex'), bytes.subarray(32).toString('hex')];
    secrets.push(bytes.subarray(0, 32).toString('hex'), bytes.subarray(32).toString('base64url'));
    for (const secret of secrets) assert.equal(kept.includes(secret), false, secret);
  });

  test('that is long over is swept, and one that stands is not', async () => {
    const { ports, tidy } = world.collectors[0];
    const old = await enter();
    world.pass(limits.sessionIdleMs + limits.endedCredentialMs + 1_000);
    const { refreshToken } = await enter();
    await tidy();
    const { rows } = await world.db.query('select id from sessions');
    assert.equal(rows.length, 1);
    await assert.rejects(refreshSession(ports, old.refreshToken), refused);
    await refreshSession(ports, refreshToken);
  });
});
