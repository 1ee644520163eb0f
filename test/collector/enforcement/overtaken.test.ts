import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Replica } from '../../../collector/enforcement/ports.ts';
import { rfc3339 } from '../../../common/clock.ts';
import { announcementText } from '../../../common/enforcement/announcement.ts';
import { limits } from '../../../common/limits.ts';
import { rest } from '../../fakes/enforcement.ts';
import { bench } from './bench.ts';
import { driftOf, idOf, manifestOf, nowMs } from './situations.ts';

const web = driftOf('IMAGE_DRIFT', 'web');
const sha = `sha256:${idOf('web:2')}`;
const replica = (node: string, state = 'running'): Replica => ({ node, state, health: 'none' });

/** A fleet whose orders all wait for one approver. */
function waiting(nodes: readonly string[] = ['node1']) {
  const { world, collector, ordered } = bench({ manifest: manifestOf({ mode: 'passive' }), nodes });
  const { desk, carrier } = collector();
  desk.start();
  const drift = async (node: string) => {
    world.open(node, web);
    desk.saw(node, ['drift.opened']);
    await rest();
  };
  const approve = async (node: string) => {
    const { hash = '' } = world.orders().find(({ order }) => order.node === node) ?? {};
    world.tell(hash, { kind: 'order.approved', body: { order: hash, approval: { approver: 'ada', signature: 's' } } });
    desk.heard();
    await rest();
  };
  const executed = async (node: string) => {
    const { hash = '' } = world.orders().find(({ order }) => order.node === node) ?? {};
    const body = {
      order: hash,
      outcome: 'executed',
      code: null,
      reason: '',
      evidence: null,
      containerId: null,
    } as const;
    world.tell(hash, { kind: 'order.result', body });
    world.resolve(node, web.id);
    await world.advance(limits.enforcementLookMs * 2);
  };
  const sent = () => carrier.sent.map(({ node }) => node);
  return { world, ordered, drift, approve, executed, sent };
}

describe('an order of a rule that waited is not sent', () => {
  test('while its drift is announced by somebody who may, and after that it is', async () => {
    const { world, drift, approve, sent } = waiting();
    world.imageIds.set(idOf('web'), sha);
    await drift('node1');
    const text = announcementText({ node: null, container: 'web', image: sha, until: rfc3339(nowMs + 60_000) });
    for (const approver of ['mallory', 'ada']) {
      await world.ledger.record({ kind: 'change.announced', body: { text, approval: { approver, signature: 's' } } });
    }
    await approve('node1');
    assert.deepEqual(sent(), []);
    await world.advance(60_000 + limits.enforcementLookMs * 2);
    assert.equal(sent()[0], 'node1');
  });

  test('for an announcement by nobody who may, it is', async () => {
    const { world, drift, approve, sent } = waiting();
    world.imageIds.set(idOf('web'), sha);
    await drift('node1');
    const text = announcementText({ node: null, container: 'web', image: sha, until: rfc3339(nowMs + 60_000) });
    const approval = { approver: 'mallory', signature: 's' };
    await world.ledger.record({ kind: 'change.announced', body: { text, approval } });
    await approve('node1');
    assert.deepEqual(sent(), ['node1']);
  });

  test('while the last other replica that worked has stopped, and is when that works again', async () => {
    const { world, drift, approve, sent } = waiting(['node1', 'node2']);
    world.replicas.set('web', [replica('node1'), replica('node2')]);
    await drift('node1');
    world.replicas.set('web', [replica('node1'), replica('node2', 'exited')]);
    await approve('node1');
    await world.advance(limits.enforcementLookMs * 2);
    assert.deepEqual(sent(), []);
    world.replicas.set('web', [replica('node1'), replica('node2')]);
    await world.advance(limits.enforcementLookMs * 2);
    assert.equal(sent()[0], 'node1');
  });

  test('before another one that was approved and sent first, although that was ordered later', async () => {
    const { world, drift, approve, executed, sent } = waiting(['node1', 'node2', 'node3']);
    const all = ['node1', 'node2', 'node3'].map((node) => replica(node));
    world.replicas.set('web', all);
    await drift('node1');
    await drift('node2');
    await approve('node2');
    assert.deepEqual(sent(), ['node2']);
    world.replicas.set('web', [...all.slice(0, 2), replica('node3', 'exited')]);
    await approve('node1');
    assert.deepEqual(sent(), ['node2'], 'node2 may be at it, and nothing else works');
    await executed('node2');
    assert.equal(sent().at(-1), 'node1');
  });

  test('for one that nobody has approved, it is', async () => {
    const { world, ordered, drift, approve, sent } = waiting(['node1', 'node2', 'node3']);
    const all = ['node1', 'node2', 'node3'].map((node) => replica(node));
    world.replicas.set('web', all);
    await drift('node1');
    await drift('node2');
    assert.equal(ordered().length, 2, 'the third node would have kept it running');
    world.replicas.set('web', [...all.slice(0, 2), replica('node3', 'exited')]);
    await approve('node2');
    assert.deepEqual(sent(), ['node2'], 'nobody has said that the other one may be sent');
  });
});
