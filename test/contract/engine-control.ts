import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import type { EngineControl } from '../../agent/docker/control.ts';
import { dockerEngine } from '../../agent/docker/dockerode.ts';
import { dockerControl } from '../../agent/docker/dockerode-control.ts';
import type { CreateBody } from '../../common/container-spec.ts';
import { AppError } from '../../common/errors.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import { busybox } from '../engine-api.ts';
import { until } from '../until.ts';
import { image, isUnreachable, sleeps, type TestEngine } from './engine.ts';

/** Nobody has this container. */
const nobody = '0'.repeat(64);
/** One that somebody else asked for by what is no id. */
const noId = '../images/x';

/** Networks are bridges of the machine's own kernel: apart from those of another run at the same time. */
const subnets = [0, 1].map((at) => `10.213.${(process.pid >> 3) & 255}.${((process.pid & 7) * 2 + at) * 16}/28`);
const networks = subnets.map((_, at) => `sgw-${process.pid}-${at}`);
const [front = '', back = ''] = networks;

/** Names that the engine takes, and that stand for something else in a path. */
const odd = [`sgw-${process.pid}/x`, `sgw ${process.pid}?`, `../sgw-${process.pid}%2f`, `.sgw-${process.pid}-ü`];
const oddSubnets = [0, 1, 2, 3, 4].map(
  (at) => `10.${205 + at}.${(process.pid >> 3) & 255}.${(process.pid & 7) * 32}/28`,
);
const networkIds = (networks: Awaited<ReturnType<EngineControl['networks']>>) =>
  Object.values(networks).map(({ NetworkID }) => NetworkID ?? '');

interface Scene {
  readonly subject: TestEngine;
  readonly control: EngineControl;
  /** What may be said of the container. */
  seen(id: string): Promise<ObservedContainer | undefined>;
}

type Here = () => Scene;

/**
 * What whoever carries out orders relies on, of the adapter together with whatever serves the Engine API behind it. Every engine
 * it is run on, simulated or real, must pass the same tests.
 * @param skip why this engine cannot be tested here; printed beside the skipped suite
 */
export function engineControlContract(name: string, start: () => Promise<TestEngine>, skip?: string): void {
  describe(`the contract of hands on an engine, ${name}`, { skip: skip ?? false }, () => {
    let scene: Scene;
    before(async () => {
      const subject = await start();
      await subject.importImage(image);
      const { socketPath } = subject;
      const engine = dockerEngine({ socketPath });
      const seen = async (id: string) => (await engine.inspect(id))?.container;
      scene = { subject, control: dockerControl({ socketPath }), seen };
    });
    after(() => scene?.subject.stop());
    const here = () => scene;

    endsAndBegins(here);
    makes(here);
    gathersEvidence(here);
    isolates(here);
    handlesImages(here);
    endsInTime(here);
  });
}

function endsAndBegins(here: Here): void {
  test('a running container is killed, also a paused one; one that does not run, or is gone, is none', async () => {
    const { subject, control, seen } = here();
    const id = await subject.run({ name: 'to-kill', image, cmd: sleeps });
    assert.equal(await control.kill(id), true);
    const killed = await seen(id);
    assert.deepEqual([killed?.state, killed?.exitCode], ['exited', 137]);
    assert.equal(await control.kill(id), false);
    const paused = await subject.run({ name: 'to-kill-paused', image, cmd: sleeps });
    await subject.pause(paused);
    assert.equal(await control.kill(paused), true);
    assert.deepEqual([await control.kill(nobody), await control.kill(noId)], [false, false]);
  });

  test('a container is started and stopped once', async () => {
    const { subject, control, seen } = here();
    const id = await subject.create({ name: 'to-stop', image, cmd: sleeps });
    assert.deepEqual([await control.start(id), await control.start(id)], ['done', 'already']);
    assert.equal((await seen(id))?.state, 'running');
    assert.deepEqual([await control.stop(id, 1), await control.stop(id, 1)], ['done', 'already']);
    assert.equal((await seen(id))?.state, 'exited');
    for (const gone of [nobody, noId])
      assert.deepEqual([await control.start(gone), await control.stop(gone, 0)], ['gone', 'gone']);
  });

  test('a container that lacks something to start is there, and not started', async () => {
    const { control } = here();
    const body: CreateBody = { Image: image, Labels: {}, Cmd: sleeps, HostConfig: { NetworkMode: 'sgw-nowhere' } };
    const id = await control.create('lost', body);
    await assert.rejects(control.start(id), { code: 'engine.answer' });
    assert.equal(await control.remove(id), 'done');
  });

  test('a container is paused and goes on once', async () => {
    const { subject, control, seen } = here();
    const id = await subject.run({ name: 'to-pause', image, cmd: sleeps });
    assert.deepEqual([await control.pause(id), await control.pause(id)], ['done', 'already']);
    assert.equal((await seen(id))?.state, 'paused');
    assert.equal(await control.unpause(id), 'done');
    // An engine that hears late of its own pause says for a moment that it is paused once more.
    await until('it is running', async () => (await seen(id))?.state === 'running');
    assert.equal(await control.unpause(id), 'already');
    await subject.kill(id);
    await subject.wait(id);
    await assert.rejects(control.pause(id), { code: 'engine.answer' });
    await assert.rejects(control.unpause(id), { code: 'engine.answer' });
    assert.deepEqual([await control.pause(nobody), await control.unpause(nobody)], ['gone', 'gone']);
  });

  test('a container is renamed once, and never to the name of another', async () => {
    const { subject, control, seen } = here();
    const id = await subject.create({ name: 'old-name', image, cmd: sleeps });
    assert.deepEqual([await control.rename(id, 'new-name'), await control.rename(id, 'new-name')], ['done', 'already']);
    assert.equal((await seen(id))?.name, 'new-name');
    const other = await subject.create({ name: 'old-name', image, cmd: sleeps });
    await assert.rejects(control.rename(other, 'new-name'), refusedWith(409));
    assert.equal(await control.rename(nobody, 'nobodys'), 'gone');
  });

  test('a container is removed once, running or not, and its volumes stay', async () => {
    const { subject, control, seen } = here();
    const host = { NetworkMode: 'none', Mounts: [{ Type: 'volume', Target: '/kept' }] };
    const id = await subject.run({ name: 'to-remove', image, cmd: sleeps, host });
    const before = await subject.volumes();
    assert.deepEqual([await control.remove(id), await control.remove(id)], ['done', 'gone']);
    assert.equal(await seen(id), undefined);
    assert.ok(before.length > 0);
    assert.deepEqual(await subject.volumes(), before);
    assert.equal(await control.remove(noId), 'gone');
  });
}

function makes(here: Here): void {
  test('a container is made and not started; a taken name and a missing image say so', async () => {
    const { control, seen } = here();
    const body: CreateBody = {
      ...{ Image: image, Labels: { 'sigilwatch.test': '1' }, Cmd: ['sleep', '9'], Entrypoint: [busybox] },
      HostConfig: { NetworkMode: 'none' },
    };
    const id = await control.create('made', body);
    const made = await seen(id);
    assert.deepEqual([made?.name, made?.image, made?.state], ['made', image, 'created']);
    await assert.rejects(control.create('made', body), refusedWith(409));
    await assert.rejects(control.create('made-2', { ...body, Image: 'sgw-missing:1' }), refusedWith(404));
  });
}

function gathersEvidence(here: Here): void {
  test('the engine\u2019s own words about a container are told, until it is gone', async () => {
    const { subject, control } = here();
    const id = await subject.create({ name: 'evidence', image, cmd: sleeps, env: ['A=b'] });
    const json = await control.rawInspect(id);
    assert.ok(typeof json === 'object' && json !== null && 'Config' in json && 'HostConfig' in json);
    assert.match(JSON.stringify(json.Config), /"A=b"/);
    await subject.remove(id);
    assert.deepEqual([await control.rawInspect(id), await control.rawInspect(noId)], [undefined, undefined]);
  });

  test('the last lines of both outputs are told, whether it runs or not', async () => {
    const { subject, control } = here();
    const script = ['echo first', 'echo second', 'echo third >&2', 'exit 3'].join('; ');
    const id = await subject.run({ name: 'talks', image, cmd: [busybox, 'sh', '-c', script] });
    await subject.wait(id);
    const lines = async (most: number) => (await control.logs(id, most)).split('\n').filter((line) => line !== '');
    // Two outputs of one program reach the engine on two ways.
    await until('all of it arrived', async () => (await lines(10)).length === 3);
    assert.deepEqual((await lines(10)).sort(), ['first', 'second', 'third']);
    assert.equal((await lines(2)).length, 2);
    assert.deepEqual([await control.logs(nobody, 10), await control.logs(noId, 10)], ['', '']);
  });

  test('changed files are told', async () => {
    const { subject, control } = here();
    const id = await subject.run({ name: 'writes', image, cmd: [busybox, 'sh', '-c', 'echo x > /planted; exit 0'] });
    await subject.wait(id);
    assert.deepEqual(await control.changes(id), [{ path: '/planted', kind: 'added' }]);
    const still = await subject.create({ name: 'still', image, cmd: sleeps });
    assert.deepEqual([await control.changes(still), await control.changes(nobody)], [[], []]);
  });
}

function isolates(here: Here): void {
  describe('networks', () => {
    before(async () => {
      for (const [at, subnet] of subnets.entries()) await here().subject.createNetwork(networks[at] ?? '', subnet);
    });
    after(async () => {
      const { subject, control } = here();
      for (const id of await subject.ids()) await control.remove(id);
      for (const network of networks) await subject.removeNetwork(network);
    });

    test('a container is taken from a network once, and put back as it was', async () => {
      const { control } = here();
      const id = await control.create('cut-off', {
        ...{ Image: image, Labels: {}, Cmd: sleeps, HostConfig: { NetworkMode: front } },
        NetworkingConfig: { EndpointsConfig: { [front]: { Aliases: ['web'] } } },
      });
      assert.equal(await control.connect(back, id, { Aliases: ['api'] }), 'done');
      await control.start(id);
      const before = await control.networks(id);
      assert.deepEqual(Object.keys(before).sort(), [...networks].sort());
      assert.ok(before[front]?.Aliases?.includes('web') && before[back]?.Aliases?.includes('api'));
      const disconnected = [await control.disconnect(front, id), await control.disconnect(front, id)];
      assert.deepEqual(disconnected, ['done', 'already']);
      assert.deepEqual(Object.keys(await control.networks(id)), [back]);
      const endpoint = JSON.parse(JSON.stringify(before[front]));
      const connected = [await control.connect(front, id, endpoint), await control.connect(front, id, endpoint)];
      assert.deepEqual(connected, ['done', 'already']);
      assert.deepEqual(await control.networks(id), before);
    });

    test('from a network with an odd name, or with the id of another, a container is taken by its id', async () => {
      const { subject, control } = here();
      const others: string[] = [];
      for (const [at, name] of odd.entries()) others.push(await subject.createNetwork(name, oddSubnets[at] ?? ''));
      try {
        const id = await subject.run({ name: 'odd', image, cmd: sleeps, host: { NetworkMode: front } });
        const [its = ''] = networkIds(await control.networks(id));
        others.push(await subject.createNetwork(its, oddSubnets[others.length] ?? ''));
        for (const network of others) assert.equal(await control.connect(network, id, {}), 'done');
        const attached = networkIds(await control.networks(id));
        assert.deepEqual(new Set(attached), new Set([its, ...others]));
        for (const network of attached) {
          assert.equal(await control.disconnect(network, id), 'done');
          assert.equal(await control.disconnect(network, id), 'already');
        }
        assert.deepEqual(await control.networks(id), {});
        await subject.remove(id);
      } finally {
        for (const network of others) await subject.removeNetwork(network);
      }
    });

    test('networks and containers that nobody has are gone', async () => {
      const { subject, control } = here();
      const host = { NetworkMode: front };
      const id = await subject.run({ name: 'alone', image, cmd: sleeps, host });
      assert.equal(await control.disconnect('sgw-nowhere', id), 'already');
      for (const network of ['sgw-nowhere', '../x', 'x/./y', 'x//y', ''])
        assert.equal(await control.connect(network, id, {}), 'gone');
      assert.equal(await control.disconnect(front, nobody), 'gone');
      assert.equal(await control.connect(front, nobody, {}), 'gone');
      assert.equal(await control.connect(front, noId, {}), 'gone');
      assert.deepEqual(await control.networks(nobody), {});
    });

    test('from the network of the host nobody is taken', async () => {
      const { subject, control } = here();
      const id = await subject.run({ name: 'on-host', image, cmd: sleeps, host: { NetworkMode: 'host' } });
      assert.deepEqual(Object.keys(await control.networks(id)), ['host']);
      await assert.rejects(control.disconnect('host', id), { code: 'engine.answer' });
    });
  });
}

function handlesImages(here: Here): void {
  test('an image is found by its tag and by its id, under further tags too', async () => {
    const { control } = here();
    const id = (await control.findImage(image)) ?? assert.fail('not found');
    assert.match(id, /^sha256:[0-9a-f]{64}$/);
    assert.equal(await control.findImage(id), id);
    assert.equal(await control.tagImage(id, 'sigilwatch/good', '0123456789ab'), 'done');
    assert.equal(await control.findImage('sigilwatch/good:0123456789ab'), id);
    assert.deepEqual(
      [await control.untag('sigilwatch/good:0123456789ab'), await control.untag('sigilwatch/good:0123456789ab')],
      ['done', 'gone'],
    );
    assert.equal(await control.findImage('sigilwatch/good:0123456789ab'), undefined);
    assert.equal(await control.findImage(image), id);
  });

  test('what is no image is not found, and what is no tag is not taken away', async () => {
    const { control } = here();
    const id = (await control.findImage(image)) ?? assert.fail('not found');
    for (const reference of ['sgw-missing:1', `sha256:${'0'.repeat(64)}`, 'Not A Name', 'UPPER:1', '../../info', ''])
      assert.equal(await control.findImage(reference), undefined, reference);
    for (const reference of [id, 'sgw-test', '../containers/x:1', ''])
      assert.equal(await control.untag(reference), 'gone');
    assert.equal(await control.tagImage(`sha256:${'0'.repeat(64)}`, 'sgw-x', '1'), 'gone');
    assert.equal(await control.tagImage(image, 'sgw-x', '1'), 'gone');
    assert.equal(await control.findImage(image), id);
  });

  test('the last tag of an image that a container was made of is not taken away', async () => {
    const { subject, control } = here();
    await subject.importImage('sgw-used:1');
    await subject.create({ name: 'user', image: 'sgw-used:1', cmd: sleeps });
    await assert.rejects(control.untag('sgw-used:1'), refusedWith(409));
    assert.notEqual(await control.findImage('sgw-used:1'), undefined);
  });

  test('an archive brings an image back under its tag and its id', async () => {
    const { subject, control } = here();
    await subject.importImage('sgw-archived:1');
    const id = await control.findImage('sgw-archived:1');
    const archive = await subject.saveImage('sgw-archived:1');
    await subject.removeImage('sgw-archived:1');
    assert.equal(await control.findImage('sgw-archived:1'), undefined);
    await control.loadImage(Readable.from([archive]));
    assert.equal(await control.findImage('sgw-archived:1'), id);
    await control.loadImage(Readable.from([archive]));
    assert.equal(await control.findImage('sgw-archived:1'), id);
  });

  test('an archive that is none is refused, and one that cannot be read rejects with its own error', async () => {
    const { control } = here();
    await assert.rejects(control.loadImage(Readable.from([Buffer.from('{}')])), { code: 'engine.answer' });
    const unreadable = new Readable({
      read() {
        this.destroy(new RangeError('unreadable'));
      },
    });
    await assert.rejects(control.loadImage(unreadable), RangeError);
    const cut = new Readable({ read() {} });
    cut.push('x');
    setImmediate(() => cut.destroy());
    await assert.rejects(control.loadImage(cut), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
    assert.notEqual(await control.findImage(image), undefined);
  });
}

function endsInTime(here: Here): void {
  test('a frozen engine is unreachable once the timeout passes, and to calls under way when the hands are closed', async () => {
    const { subject } = here();
    const impatient = dockerControl({ socketPath: subject.socketPath, timeoutMs: 200 });
    const id = await subject.create({ name: 'frozen', image, cmd: sleeps });
    subject.freeze();
    try {
      await assert.rejects(impatient.rawInspect(id), isUnreachable(subject.socketPath));
      const calls = [impatient.kill(id), impatient.start(id), impatient.loadImage(Readable.from(['x']))];
      const settled = Promise.allSettled(calls);
      impatient.close();
      for (const outcome of await settled) {
        assert.ok(outcome.status === 'rejected' && isUnreachable(subject.socketPath)(outcome.reason));
      }
    } finally {
      subject.thaw();
    }
    await assert.rejects(impatient.rawInspect(id), isUnreachable(subject.socketPath));
  });
}

function refusedWith(status: number) {
  return (thrown: unknown) =>
    thrown instanceof AppError && thrown.code === 'engine.answer' && thrown.details.status === status;
}
