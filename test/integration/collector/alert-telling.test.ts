import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { type AlertItem, isAtLeast, type Severity } from '../../../collector/alerts/alert.ts';
import { holdOf } from '../../../collector/alerts/holds.ts';
import { inhibitorsAmong } from '../../../collector/alerts/inhibition.ts';
import type { Alert } from '../../../collector/alerts/standing.ts';
import { alertSeverities } from '../../../common/kinds.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { AlertWorld, channelOf, drain, groupMs, maxAttempts, type TestChannel, unreachable } from './alert-world.ts';

/** Whatever happens, and in whatever order: who is told of what in the end. */
let postgres: TestPostgres;
let world: AlertWorld;

before(async () => {
  postgres = await startPostgres();
  world = await AlertWorld.begin(postgres);
  const frozen = { commit: '4f2a', drift: 'IMAGE_DRIFT', nodes: ['a'], reason: 'on 1 node' } as const;
  await world.ledger.record({ kind: 'enforcement.frozen', body: { ...frozen, nodes: [...frozen.nodes] } });
});
after(() => postgres.stop());

const keys = [...['node.silent/a', 'engine.down/a', 'drift.image/a', 'enforcement.frozen/4f2a']];
const escalateAfterMs = 300_000;
const silenceMs = 900_000;

const key = fc.constantFrom(...keys);
const step = fc.oneof(
  fc.record({ act: fc.constant('raise' as const), key, severity: fc.constantFrom(...alertSeverities) }),
  fc.record({ act: fc.constant('resolve' as const), key }),
  fc.record({
    act: fc.constant('silence' as const),
    pattern: fc.constantFrom(...keys, 'drift.*'),
  }),
  fc.record({ act: fc.constant('unsilence' as const), nth: fc.nat(3) }),
  fc.record({ act: fc.constant('acknowledge' as const), key }),
  fc.record({ act: fc.constant('wait' as const), ms: fc.constantFrom(0, groupMs, escalateAfterMs, silenceMs) }),
  fc.record({ act: fc.constant('deliver' as const), isDown: fc.boolean() }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

interface Run {
  readonly channels: readonly TestChannel[];
  readonly silences: string[];
  /** Failures left before something is given up, which is another story. */
  mayFail: number;
}

async function take(run: Run, one: Step): Promise<void> {
  const { channels, silences } = run;
  switch (one.act) {
    case 'raise':
      await world.raise(one.key, one.severity);
      break;
    case 'resolve':
      await world.resolve(one.key);
      break;
    case 'silence':
      silences.push(await world.silence(one.pattern, silenceMs));
      break;
    case 'unsilence': {
      const id = silences[one.nth];
      if (id !== undefined) await world.unsilence(id);
      break;
    }
    case 'acknowledge':
      await world.acknowledge(one.key);
      break;
    case 'wait':
      world.nowMs += one.ms;
      await world.intake.catchUp(channels);
      return;
    case 'deliver': {
      const isDown = one.isDown && run.mayFail-- > 0;
      for (const channel of channels) {
        channel.answer = isDown ? () => Promise.reject(unreachable) : async () => {};
        await drain(world.courierOf(channel));
      }
      return;
    }
  }
  await world.readAll();
}

/** Rows go; entries that were read are not read again. */
async function begin(): Promise<Run> {
  await world.readAll();
  await world.db.query('truncate alerts, alert_channels, alert_notifications, alert_told, alert_silences');
  const channels = [
    channelOf('all'),
    channelOf('bad', 'error'),
    channelOf('late', 'info', 10, escalateAfterMs),
    channelOf('late-bad', 'error', 1, escalateAfterMs),
  ];
  await world.intake.welcome(channels);
  return { channels, silences: [], mayFail: maxAttempts - 1 };
}

/** Until no channel has anything left, however long it was left alone. */
async function deliverAll(channels: readonly TestChannel[]): Promise<void> {
  for (const channel of channels) channel.answer = async () => {};
  await world.db.query('truncate breakers');
  await world.db.query(`update alert_notifications set due_at = '2026-01-01' where state = 'waiting'`);
  for (const channel of channels) await drain(world.courierOf(channel));
}

const standing = (): Promise<readonly Alert[]> => world.alertStore().atDesk((desk) => desk.standing());

function lastOf({ notices }: TestChannel, of: string): AlertItem | undefined {
  return notices.flatMap(({ items }) => items).findLast((item) => item.key === of);
}

/** Beginnings and ends take turns, and repetitions stand between them. */
function assertWholeStories({ name, notices }: TestChannel): void {
  const known = new Map<string, Severity>();
  for (const { key: of, change, severity, previousSeverity } of notices.flatMap(({ items }) => items)) {
    const before = known.get(of);
    if (change === 'raised')
      assert.equal(previousSeverity ?? undefined, before, `${name}: ${of} begins as it was known`);
    else assert.notEqual(before, undefined, `${name}: ${change} ${of}, of which nothing was told`);
    if (change === 'resolved') known.delete(of);
    else known.set(of, severity);
  }
}

async function assertTold({ channels }: Run): Promise<void> {
  const stands = await standing();
  const silences = await world.alertStore().atDesk((desk) => desk.silences(world.nowMs));
  const freezes = await world.alertStore().atDesk((desk) => desk.freezes());
  assert.equal(freezes.length, 1);
  const sources = { silences, inhibitors: inhibitorsAmong(stands, freezes), nowMs: world.nowMs };
  for (const channel of channels) {
    assertWholeStories(channel);
    for (const of of keys) {
      const alert = stands.find((one) => one.key === of);
      const last = lastOf(channel, of);
      const said = `${channel.name}: ${of}`;
      if (alert === undefined) assert.ok(last === undefined || last.change === 'resolved', `${said} is over`);
      else if (holdOf(alert, sources) === undefined && isTurn(channel, alert)) {
        assert.deepEqual([last?.change === 'resolved', last?.severity], [false, alert.severity], `${said} stands`);
      }
    }
  }
}

function isTurn({ level, escalateAfterMs: afterMs }: TestChannel, alert: Alert): boolean {
  if (!isAtLeast(alert.worst, level)) return false;
  return afterMs === null || (alert.acknowledged === null && alert.heardAtMs + afterMs <= world.nowMs);
}

test('what stands and is not held back is told in the end, and nobody is told of an end whose beginning he was not told', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40, size: 'max' }), async (steps) => {
      const run = await begin();
      for (const one of steps) await take(run, one);
      await world.intake.catchUp(run.channels);
      await deliverAll(run.channels);
      await assertTold(run);
      // Once every silence has ended and every alert is over, everybody knows the end of what he knew of.
      world.nowMs += silenceMs;
      await world.intake.catchUp(run.channels);
      for (const one of keys) await world.resolve(one);
      await world.readAll();
      await deliverAll(run.channels);
      await assertTold(run);
    }),
    { numRuns: 12 },
  );
});
