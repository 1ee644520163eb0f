import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Engine } from '../../../agent/docker/engine.ts';
import { ContainerObserver } from '../../../agent/observer.ts';
import { OrderDesk } from '../../../agent/orders/desk.ts';
import { Account } from '../../../agent/told/account.ts';
import { enforcementPolicy } from '../../../common/enforcement/policy.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { compileDesired } from '../../../common/manifest/compile.ts';
import { parseManifestFiles } from '../../../common/manifest/files.ts';
import { manifestFile } from '../../../common/manifest/manifest.ts';
import { commit, nowMs, orderFor, policyOf, rogue } from '../../common/enforcement/ground.ts';
import { fakeJournal } from '../../fakes/journal.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { countingControl, deskGround, issued, memoryEvidence, seen, tellAll } from './ground.ts';

const ids = ['1', '2', '3'].map((digit) => digit.repeat(64));
const alone = 'governance: {when_offline: local, offline_after: 10, settling_time: 0, cooldown: 0, blast_radius: 100';

/** A node with three containers that nobody wants, whose looks are compared as they are in an agent. */
async function fleetOfThree(rules: string) {
  const manifest = parseManifestFiles(
    new Map([[manifestFile, `config: {enforcement_mode: active, grace_period_seconds: 0}\n${rules}\n`]]),
  );
  const adopted = { commit, manifest, signer: null, desired: compileDesired(manifest, 'node1') };
  const counted = { inspections: 0, comparisons: 0, warned: [] as string[] };
  const clock = { at: nowMs, now: () => clock.at, monotonicMs: () => clock.at };
  const running = new Set(ids);
  const engine: Engine = {
    ping: async () => {},
    version: async () => ({ version: '1', apiVersion: '1.41' }),
    list: async () => new Map([...running].map((id) => [id, `rogue${id.slice(0, 1)}`])),
    inspect: async (id) => {
      counted.inspections += 1;
      await turn();
      if (!running.has(id)) return undefined;
      const digit = id.slice(0, 1);
      const container = { ...seen, id, name: `rogue${digit}`, image: `evil${digit}:1` };
      return { container, config: bare };
    },
    image: async () => undefined,
    hasNetwork: async () => true,
    events: async () => {},
    close: () => {},
  };
  const journal = new Account(fakeJournal());
  const { control, pulled } = countingControl();
  const link: { cutOffMs: number | undefined } = { cutOffMs: undefined };
  let desk: OrderDesk | undefined;
  const observer: ContainerObserver = new ContainerObserver({
    ...{ engine, journal, logger: quietLogger, clock },
    desired: () => adopted,
    inHand: () => desk?.inHand ?? { names: new Set(), ids: new Set() },
    onCompared: () => {
      counted.comparisons += 1;
      // What looks for ever is to fail, not to hang.
      if (counted.comparisons < 200) desk?.compared();
    },
  });
  desk = new OrderDesk({
    node: 'node1',
    ...{ watch: observer, journal, engine, evidence: memoryEvidence(), clock },
    controlFor: () => ({ ...control, kill: async (id) => (await control.kill(id)) && running.delete(id) }),
    make: async () => 'f'.repeat(64),
    verifyApprovals: async () => [],
    adopted: () => ({ commit, policy: enforcementPolicy(manifest), containers: adopted.desired.containers }),
    trusted: () => true,
    origin: () => 'repository',
    cutOffMs: () => link.cutOffMs,
    connectedMs: () => 0,
    random: randomBytes,
    sleep: async () => {},
    logger: { ...quietLogger, warn: (event: string) => void counted.warned.push(event) },
  });
  await desk.restore();
  await observer.restore();
  tellAll(desk);
  await observer.scan();
  await desk.settled();
  link.cutOffMs = 3_600_000;
  counted.inspections = 0;
  counted.comparisons = 0;
  return { desk, observer, counted, pulled, link, clock, running };
}

const bare = {
  ...{ command: [], entrypoint: [], environment: {}, ports: [], volumes: [], labels: {}, user: '' },
  ...{ restart_policy: 'no', cap_add: [], cap_drop: [], privileged: false, network_mode: 'default' },
  ...{ mem_limit: 0, cpus: 0 },
};

describe('a node that is cut off looks at a container only to act on it', () => {
  test('and not while the grace period lasts', async () => {
    const rules = `${alone}}\ndrift_rules: {unauthorized_containers: {action: terminate, grace_period: 3600}}`;
    const { desk, observer, counted, pulled } = await fleetOfThree(rules);
    await observer.scan();
    await desk.settled();
    assert.deepEqual([counted.inspections, counted.comparisons, pulled], [ids.length, 1, []]);
  });

  test('and not when its limits keep it from acting', async () => {
    const rules = `${alone}, daily_limit: 0}\ndrift_rules: {unauthorized_containers: {action: terminate}}`;
    const { desk, observer, counted, pulled } = await fleetOfThree(rules);
    await observer.scan();
    await desk.settled();
    assert.deepEqual([counted.inspections, counted.comparisons, pulled], [ids.length, 1, []]);
  });

  test('and once at each of those that it acts on', async () => {
    const rules = `${alone}}\ndrift_rules: {unauthorized_containers: {action: terminate}}`;
    const { desk, observer, counted, running } = await fleetOfThree(rules);
    await observer.scan();
    await desk.settled();
    assert.equal(running.size, 0);
    // The scan, a look at each before it is acted on, and one after; those after are taken together as they come.
    assert.equal(counted.inspections, 3 * ids.length);
    assert.ok(counted.comparisons <= 1 + 2 * ids.length);
  });

  test('and takes the order of a collector that is back, however much was compared meanwhile', async () => {
    const rules = `${alone}}\ndrift_rules: {unauthorized_containers: {action: terminate}}`;
    const { desk, counted, link } = await fleetOfThree(rules);
    for (let compared = 0; compared < 2 * limits.maxOrdersWaiting; compared += 1) desk.compared();
    link.cutOffMs = undefined;
    await desk.receive(issued(orderFor(rogue)));
    await desk.settled();
    assert.deepEqual(counted.warned, []);
  });
});

describe('a node that decides alone', () => {
  const said = `${alone}}\n`;
  /** Something that nobody can kill, or that is always back. */
  async function inVain(rollback: string, kill: () => Promise<boolean>) {
    const policy = { ...policyOf(said), rollback: { ...policyOf(said).rollback, ...retries(rollback) } };
    const { control } = countingControl();
    let attempts = 0;
    const counting = async () => {
      attempts += 1;
      return await kill();
    };
    const ground = deskGround({
      adopted: () => ({ commit, policy, containers: [] }),
      controlFor: () => ({ ...control, kill: counting }),
      cutOffMs: () => 3_600_000,
    });
    const desk = await ground.open();
    tellAll(desk);
    const after = async (ms: number) => {
      ground.clock.at += ms;
      desk.compared();
      await desk.settled();
      return attempts;
    };
    return { ...ground, after };
  }
  const retries = (text: string) => enforcementPolicy(parseManifestFiles(new Map([[manifestFile, text]]))).rollback;
  const twice = 'rollback: {enabled: true, max_retries: 1, retry_delay: 60}\n';

  test('tries what failed again after the delay of the manifest, and not more often than it says', async () => {
    const { after } = await inVain(twice, async () => {
      throw new AppError('engine.answer', 'it cannot be killed');
    });
    assert.equal(await after(0), 1);
    assert.equal(await after(59_999), 1, 'before the delay is over');
    assert.equal(await after(1), 2);
    assert.equal(await after(3_600_000), 2, 'there is one retry');
  });

  test('waits for what an order has changed to show, and counts what stands all the same as failed', async () => {
    const { after, journal } = await inVain(twice, async () => true);
    assert.equal(await after(0), 1);
    assert.equal(await after(limits.verifyWithinMs - 1), 1);
    assert.equal(await after(2), 1, 'the delay begins with what was found');
    assert.equal(journal.saidOf('order.result').at(-1)?.body.outcome, 'relapsed');
    assert.equal(await after(60_000), 2);
    assert.equal(await after(limits.verifyWithinMs + 1), 2);
    assert.equal(await after(3_600_000), 2);
  });

  test('begins anew with a drift that has changed', async () => {
    const { after, standing } = await inVain(twice, async () => {
      throw new AppError('engine.answer', 'it cannot be killed');
    });
    await after(0);
    await after(60_000);
    assert.equal(await after(3_600_000), 2);
    const differences = [{ field: 'image', desired: null, observed: 'app:2' }] as const;
    standing.set(rogue.id, { drift: { ...rogue, differences: [...differences] }, sinceMs: nowMs });
    assert.equal(await after(0), 3);
  });
});
