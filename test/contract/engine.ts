import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { dockerEngine } from '../../agent/docker/dockerode.ts';
import type { Engine, EngineEvent, InspectedContainer } from '../../agent/docker/engine.ts';
import { scanContainers } from '../../agent/docker/scanner.ts';
import { AppError } from '../../common/errors.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import { busybox, type EngineApi } from '../engine-api.ts';
import { until } from '../until.ts';

/** What the contract does to an engine, beside using it. */
export interface TestEngine extends EngineApi {
  readonly socketPath: string;
  down(): Promise<void>;
  up(): Promise<void>;
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}

export const image = 'sgw-test:1';
export const sleeps = [busybox, 'sleep', '1000'];
export const exits7 = [busybox, 'sh', '-c', 'exit 7'];

/** An open event stream and what it told so far. */
export interface Recording {
  readonly events: EngineEvent[];
  readonly unreadable: string[];
  /** Settles as the stream does. */
  readonly ended: Promise<void>;
  /** Actions told about one container, in order. */
  actions(containerId: string): string[];
  stop(): Promise<void>;
}

/** Opens an event stream and resolves once it stands. */
export async function record(engine: Engine, sinceMs?: number): Promise<Recording> {
  const events: EngineEvent[] = [];
  const unreadable: string[] = [];
  const abort = new AbortController();
  let opened = (): void => {};
  const open = new Promise<void>((resolve) => {
    opened = resolve;
  });
  const ended = engine.events({
    ...(sinceMs === undefined ? {} : { sinceMs }),
    signal: abort.signal,
    onOpen: opened,
    onEvent: (event) => events.push(event),
    onUnreadable: (reason) => unreadable.push(reason),
  });
  await Promise.race([open, ended]);
  return {
    events,
    unreadable,
    ended,
    actions: (containerId) => events.filter((event) => event.containerId === containerId).map(({ action }) => action),
    stop: async () => {
      abort.abort();
      await ended;
    },
  };
}

export function isUnreachable(socketPath: string): (thrown: unknown) => boolean {
  return (thrown) =>
    thrown instanceof AppError &&
    thrown.code === 'engine.unreachable' &&
    thrown.retryable &&
    thrown.message.includes(socketPath);
}

/**
 * What the agent relies on, of the adapter together with whatever serves the Engine API behind it. Every engine it is run
 * on, simulated or real, must pass the same tests.
 * @param skip why this engine cannot be tested here; printed beside the skipped suite
 */
export function engineContract(name: string, start: () => Promise<TestEngine>, skip?: string): void {
  describe(`the engine contract, ${name}`, { skip: skip ?? false }, () => {
    let subject: TestEngine;
    let engine: Engine;
    before(async () => {
      subject = await start();
      await subject.importImage(image);
      engine = dockerEngine({ socketPath: subject.socketPath });
    });
    after(() => subject?.stop());
    const here = () => ({ subject, engine });

    observesContainers(here);
    tellsEvents(here);
    survivesTheEnginesAbsence(here);
  });
}

/** What may be said of the container. */
async function inspect(engine: Engine, id: string): Promise<ObservedContainer | undefined> {
  return (await engine.inspect(id))?.container;
}

async function inspectWhole(engine: Engine, id: string): Promise<InspectedContainer> {
  return (await engine.inspect(id)) ?? assert.fail('gone');
}

type Here = () => { readonly subject: TestEngine; readonly engine: Engine };

function observesContainers(here: Here): void {
  test('the engine answers a ping and names its version', async () => {
    const { engine } = here();
    await engine.ping();
    const { version, apiVersion } = await engine.version();
    assert.match(version, /^\d+\./);
    assert.match(apiVersion, /^1\.\d+$/);
  });

  test('a running container is listed and seen in full', async () => {
    const { subject, engine } = here();
    const beforeMs = Date.now();
    const id = await subject.run({ name: 'running', image, cmd: sleeps });
    assert.equal((await engine.list()).get(id), 'running');
    const { imageId, createdAt, startedAt, ...rest } = (await inspect(engine, id)) ?? assert.fail('gone');
    assert.deepEqual(rest, {
      id,
      name: 'running',
      image,
      state: 'running',
      health: 'none',
      exitCode: 0,
      restartCount: 0,
      finishedAt: null,
    });
    assert.match(imageId, /^sha256:[0-9a-f]{64}$/);
    assert.ok(Date.parse(createdAt) >= beforeMs - 1 && Date.parse(createdAt) <= Date.now());
    assert.ok(startedAt !== null && Date.parse(startedAt) >= Date.parse(createdAt));
  });

  test('a container is seen as it was made, with what its image brings along apart', async () => {
    const { subject, engine } = here();
    const changes = [
      'CMD ["/bin/busybox","sleep","7"]',
      'ENV FROM_IMAGE=1',
      'ENV BOTH=image',
      'LABEL made=by-us',
      'VOLUME /cache',
    ];
    await subject.importImage('sgw-made:1', [...changes, 'USER 7']);
    const plain = await inspectWhole(engine, await subject.create({ name: 'plain', image: 'sgw-made:1', cmd: [] }));
    const image = (await engine.image(plain.container.imageId)) ?? assert.fail('the image is gone');
    assert.deepEqual([image.command, image.entrypoint, image.user], [['/bin/busybox', 'sleep', '7'], [], '7']);
    assert.deepEqual([image.labels, image.volumes], [{ made: 'by-us' }, ['/cache']]);
    assert.deepEqual([image.environment.FROM_IMAGE, image.environment.BOTH], ['1', 'image']);
    const { command, environment, labels, user, restart_policy, ports, privileged, mem_limit, cpus } = plain.config;
    assert.deepEqual([command, environment, labels, user], [image.command, image.environment, image.labels, '7']);
    assert.deepEqual([restart_policy, ports, privileged, mem_limit, cpus], ['no', [], false, 0, 0]);
    assert.deepEqual(plain.config.network_mode, 'none');
    const own = {
      ...{ name: 'own', image: 'sgw-made:1', cmd: ['sleep', '8'], entrypoint: [busybox], user: 'nobody:nogroup' },
      ...{ labels: { tier: 'web' }, env: ['BOTH=ours', 'EMPTY=', 'EQ=a=b'] },
      host: {
        PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }], '53/udp': [{ HostPort: '53' }] },
        Binds: ['/etc:/host-etc:ro', 'data:/data'],
        RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 },
        ...{ CapAdd: ['CAP_NET_ADMIN', 'SYS_TIME'], CapDrop: ['ALL'], Privileged: true, NetworkMode: 'default' },
        ...{ Memory: 64 << 20, NanoCpus: 500_000_000 },
      },
    };
    const { config } = await inspectWhole(engine, await subject.create(own));
    const { environment: variables, volumes, cap_add, cap_drop, ...rest } = config;
    assert.deepEqual([variables.FROM_IMAGE, variables.BOTH, variables.EMPTY, variables.EQ], ['1', 'ours', '', 'a=b']);
    assert.deepEqual(
      volumes.filter((volume) => !volume.startsWith(':')),
      ['/etc:/host-etc:ro', 'data:/data:rw'],
    );
    // Engines differ in what they show of capabilities beside a privilege that includes them all.
    assert.deepEqual([cap_add, cap_drop], [['NET_ADMIN', 'SYS_TIME'], ['ALL']]);
    assert.deepEqual(rest, {
      ...{ command: ['sleep', '8'], entrypoint: [busybox], user: 'nobody:nogroup' },
      labels: { made: 'by-us', tier: 'web' },
      ports: ['127.0.0.1:8080->80/tcp', '53->53/udp'],
      ...{ restart_policy: 'on-failure:3', privileged: true, network_mode: 'default' },
      ...{ mem_limit: 64 << 20, cpus: 500 },
    });
    assert.equal(await engine.image(`sha256:${'0'.repeat(64)}`), undefined);
  });

  test('a container that was never started has neither start nor finish', async () => {
    const { subject, engine } = here();
    const id = await subject.create({ name: 'never-started', image, cmd: sleeps });
    assert.ok((await engine.list()).has(id));
    const container = await inspect(engine, id);
    assert.deepEqual([container?.state, container?.startedAt, container?.finishedAt], ['created', null, null]);
  });

  test('a container that ended stays visible with its exit code and finish', async () => {
    const { subject, engine } = here();
    const id = await subject.run({ name: 'ended', image, cmd: exits7 });
    assert.equal(await subject.wait(id), 7);
    assert.ok((await engine.list()).has(id));
    const container = await inspect(engine, id);
    assert.deepEqual([container?.state, container?.exitCode], ['exited', 7]);
    // Not compared: for a container that ends at once, an engine may record the end before the start.
    for (const time of [container?.startedAt, container?.finishedAt]) assert.ok(Date.parse(time ?? '') > 0);
  });

  test('a killed container reports exit code 137, a paused one its pause', async () => {
    const { subject, engine } = here();
    const killed = await subject.run({ name: 'killed', image, cmd: sleeps });
    await subject.kill(killed);
    await subject.wait(killed);
    assert.equal((await inspect(engine, killed))?.exitCode, 137);
    const paused = await subject.run({ name: 'paused', image, cmd: sleeps });
    const shows = (state: string) => async () => (await inspect(engine, paused))?.state === state;
    await subject.pause(paused);
    await until('it is paused', shows('paused'));
    await subject.unpause(paused);
    // An engine that hears late of its own pause says for a moment that it is paused once more.
    await until('it is running', shows('running'));
  });

  test('a removed container is gone, not an error, also when it goes between list and inspect', async () => {
    const { subject, engine } = here();
    const id = await subject.run({ name: 'removed', image, cmd: sleeps });
    const vanishing: Engine = {
      ...engine,
      list: async () => {
        const ids = await engine.list();
        await subject.remove(id);
        return ids;
      },
    };
    const scan = await scanContainers(vanishing, { concurrency: 2 });
    assert.deepEqual([scan.containers.has(id), scan.unobserved], [false, []]);
    assert.equal(await engine.inspect(id), undefined);
    assert.ok(!(await engine.list()).has(id));
  });

  test('closing ends a call under way at once', async () => {
    const { subject } = here();
    const closed = dockerEngine({ socketPath: subject.socketPath });
    const asked = assert.rejects(closed.list(), { code: 'engine.unreachable' });
    closed.close();
    await asked;
    await assert.rejects(closed.ping(), { code: 'engine.unreachable' });
  });

  test('a label narrows what is listed and what is told', async () => {
    const { subject } = here();
    const scoped = dockerEngine({ socketPath: subject.socketPath, label: 'sigilwatch.node=lyra' });
    const told = await record(scoped);
    const ours = { name: 'ours', image, cmd: sleeps, labels: { 'sigilwatch.node': 'lyra' } };
    await subject.run({ ...ours, name: 'theirs', labels: { 'sigilwatch.node': 'lyra2' } });
    await subject.run({ ...ours, name: 'nobodys', labels: {} });
    const id = await subject.run(ours);
    assert.deepEqual([...(await scoped.list()).keys()], [id]);
    await until('our start is told', () => told.actions(id).includes('start'));
    assert.deepEqual([...new Set(told.events.map((event) => event.containerId))], [id]);
    await told.stop();
  });

  test('health follows the health check', async () => {
    const { subject, engine } = here();
    const told = await record(engine);
    const id = await subject.run({ name: 'healthy', image, cmd: sleeps, healthCmd: [busybox, 'true'] });
    await until('it is healthy', async () => (await inspect(engine, id))?.health === 'healthy');
    await until('its health is told', () => told.actions(id).includes('health_status'));
    assert.deepEqual(told.actions(id), ['create', 'start', 'health_status']);
    await subject.remove(id);
    await told.stop();
  });
}

function tellsEvents(here: Here): void {
  test('a life is told from creation to destruction, in order, with times, names and image', async () => {
    const { subject, engine } = here();
    const told = await record(engine);
    const fromMs = Date.now();
    const id = await subject.run({ name: 'first-name', image, cmd: sleeps });
    await subject.pause(id);
    await subject.unpause(id);
    await subject.rename(id, 'second-name');
    assert.equal((await inspect(engine, id))?.name, 'second-name');
    await subject.stopContainer(id);
    await subject.remove(id);
    await until('its end is told', () => told.actions(id).includes('destroy'));
    const life = told.events.filter((event) => event.containerId === id);
    // A busy engine may tell a pause and its end twice: once for the request, once when its runtime reports back.
    const firsts = life.filter(({ action }, at) => life.findIndex((event) => event.action === action) === at);
    assert.deepEqual(
      firsts.map(({ action }) => action),
      ['create', 'start', 'pause', 'unpause', 'rename', 'die', 'stop', 'destroy'],
    );
    assert.deepEqual(
      firsts.map(({ name }) => name),
      ['first-name', 'first-name', 'first-name', 'first-name', ...Array(4).fill('second-name')],
    );
    assert.ok(life.every((event) => event.image === image));
    assert.ok(life.every(({ timeMs }) => timeMs >= fromMs - 1 && timeMs <= Date.now() + 1));
    assert.deepEqual(told.unreadable, []);
    await told.stop();
  });

  test('events missed while no stream was open are told afterwards, from the given moment on', async () => {
    const { subject, engine } = here();
    const before = await record(engine);
    const id = await subject.run({ name: 'missed', image, cmd: sleeps });
    await until('the start is told', () => before.actions(id).includes('start'));
    await before.stop();
    await subject.kill(id);
    await subject.wait(id);
    const start = before.events.find((event) => event.containerId === id && event.action === 'start');
    const resumed = await record(engine, start?.timeMs);
    await until('the death is told', () => resumed.actions(id).includes('die'));
    assert.deepEqual(
      resumed.actions(id),
      ['start', 'die'],
      'the event at the given moment comes again, earlier ones do not',
    );
    assert.deepEqual(resumed.events[0], start);
    await resumed.stop();
  });

  test('aborting ends the stream quietly, also before it has begun', async () => {
    const { engine } = here();
    const told = await record(engine);
    await told.stop();
    await engine.events({ signal: AbortSignal.abort(), onEvent: () => assert.fail('told after the end') });
  });
}

function survivesTheEnginesAbsence(here: Here): void {
  test('a frozen engine is unreachable once the timeout passes, and a scan gives up soon', async () => {
    const { subject, engine } = here();
    const impatient = dockerEngine({ socketPath: subject.socketPath, timeoutMs: 200 });
    const ids = await engine.list();
    subject.freeze();
    try {
      await assert.rejects(impatient.ping(), isUnreachable(subject.socketPath));
      const scan = await scanContainers({ ...impatient, list: async () => ids }, { concurrency: 8 });
      assert.equal(scan.containers.size, 0);
      assert.equal(scan.unobserved.length, ids.size);
    } finally {
      subject.thaw();
    }
    await until('it answers again', () =>
      impatient.ping().then(
        () => true,
        () => false,
      ),
    );
  });

  test('an engine that went down is unreachable, its stream breaks, and it comes back with the same containers', async () => {
    const { subject, engine } = here();
    const told = await record(engine);
    const ids = await engine.list();
    const ended = told.ended.then(() => 'closed', isUnreachable(subject.socketPath));
    await subject.down();
    assert.ok(await ended, 'the stream closes or breaks as unreachable');
    for (const call of [
      engine.ping(),
      engine.version(),
      engine.list(),
      engine.inspect('0'.repeat(64)),
      record(engine),
    ]) {
      await assert.rejects(call, isUnreachable(subject.socketPath));
    }
    await subject.up();
    assert.deepEqual(await engine.list(), ids);
    const { containers } = await scanContainers(engine, { concurrency: 8 });
    assert.ok(
      [...containers.values()].every(({ container }) => container.state !== 'running'),
      'what ran has ended with the engine',
    );
    const again = await record(engine);
    const id = await subject.run({ name: 'after', image, cmd: sleeps });
    await until('events come again', () => again.actions(id).includes('start'));
    await again.stop();
  });
}
