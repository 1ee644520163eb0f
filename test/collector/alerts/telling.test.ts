import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { KnownChannel } from '../../../collector/alerts/ports.ts';
import { type Alert, alertId, hear } from '../../../collector/alerts/standing.ts';
import { isToldAgain, newsFor } from '../../../collector/alerts/telling.ts';
import { alertSeverities } from '../../../common/kinds.ts';

const nowMs = Date.parse('2026-03-01T10:00:00.000Z');
const key = 'engine.down/node2';
const channel: KnownChannel = { name: 'slack', level: 'info', escalateAfterMs: null };
const later: KnownChannel = { ...channel, escalateAfterMs: 1_000 };
const free = { isHeld: false, nowMs };

const alert: Alert = {
  ...{ id: alertId(key), key, severity: 'error', worst: 'error', summary: 'down', node: 'node2' },
  ...{ raisedIndex: 1, raisedAtMs: nowMs, heardAtMs: nowMs, resolvedIndex: null, resolvedAtMs: null, reason: null },
  acknowledged: null,
};
const over: Alert = { ...alert, resolvedIndex: 2, resolvedAtMs: nowMs, reason: 'up again' };
const acknowledged: Alert = { ...alert, acknowledged: { index: 2, atMs: nowMs, by: 'ada', reason: 'on it' } };

describe('what a channel is told', () => {
  test('is the beginning once, a change of severity with what it was before, and the end', () => {
    assert.equal(newsFor(channel, alert, undefined, free)?.change, 'raised');
    assert.equal(newsFor(channel, alert, 'error', free), undefined);
    assert.equal(newsFor(channel, alert, 'warning', free)?.previousSeverity, 'warning');
    assert.equal(newsFor(channel, over, 'error', free)?.change, 'resolved');
  });

  test('is the end with what it was told before, where it was told of nothing since', () => {
    assert.equal(newsFor(channel, over, 'error', free)?.previousSeverity, null);
    assert.equal(newsFor(channel, { ...over, severity: 'warning' }, 'error', free)?.previousSeverity, 'error');
  });

  test('is never the end of what it was not told, whatever holds now', () => {
    for (const isHeld of [true, false]) {
      assert.equal(newsFor(channel, over, undefined, { isHeld, nowMs }), undefined);
      assert.equal(newsFor(channel, over, 'error', { isHeld, nowMs })?.change, 'resolved');
    }
  });

  test('is nothing of what is held back, and nothing below its level', () => {
    for (const told of [undefined, ...alertSeverities]) {
      assert.equal(newsFor(channel, alert, told, { isHeld: true, nowMs }), undefined);
      assert.equal(isToldAgain(channel, alert, told, true), false);
      assert.equal(newsFor({ ...channel, level: 'critical' }, alert, undefined, free), undefined);
    }
  });

  test('is, by escalation, only what nobody has acknowledged in time', () => {
    const at = (ms: number) => ({ isHeld: false, nowMs: nowMs + ms });
    assert.equal(newsFor(later, alert, undefined, at(999)), undefined);
    assert.equal(newsFor(later, alert, undefined, at(1_000))?.change, 'raised');
    assert.equal(newsFor(later, acknowledged, undefined, at(1_000)), undefined);
    assert.equal(newsFor(later, alert, undefined, { isHeld: true, nowMs: nowMs + 1_000 }), undefined);
    assert.equal(
      newsFor(later, { ...over, acknowledged: acknowledged.acknowledged }, 'error', at(0))?.change,
      'resolved',
    );
  });

  test('is, by escalation, not put off for ever by a clock that was set back', () => {
    const heardAtMs = nowMs + 86_400_000;
    assert.equal(newsFor(later, { ...alert, heardAtMs }, undefined, free)?.change, 'raised');
  });

  test('is told again only while nobody has acknowledged it, and only to whom it was told', () => {
    assert.equal(isToldAgain(channel, alert, 'error', false), true);
    assert.equal(isToldAgain(channel, alert, undefined, false), false);
    assert.equal(isToldAgain(channel, acknowledged, 'error', false), false);
    assert.equal(isToldAgain(channel, alert, 'error', true), false);
  });

  test('is told again, where that is taken for over otherwise, for as long as it stands', () => {
    const forgetful: KnownChannel = { ...channel, forgets: true };
    for (const isHeld of [true, false]) {
      assert.equal(isToldAgain(forgetful, acknowledged, 'error', isHeld), true);
      assert.equal(isToldAgain(forgetful, alert, undefined, isHeld), false);
    }
  });
});

test('that a channel takes nothing is told to all others, and to that one only the end of what it was told before', () => {
  const dead: Alert = { ...alert, key: 'notifications.dead/slack', node: null };
  const other: KnownChannel = { ...channel, name: 'slack-2' };
  assert.equal(newsFor(other, dead, undefined, free)?.change, 'raised');
  assert.equal(isToldAgain(other, dead, 'error', false), true);
  assert.equal(newsFor(channel, dead, undefined, free), undefined);
  assert.equal(newsFor(channel, { ...dead, severity: 'warning' }, 'error', free), undefined);
  for (const forgets of [true, false]) assert.equal(isToldAgain({ ...channel, forgets }, dead, 'error', false), false);
  const ended = { ...over, key: dead.key };
  assert.equal(newsFor(channel, ended, undefined, free), undefined);
  assert.equal(newsFor(channel, ended, 'error', free)?.change, 'resolved');
});

describe('an acknowledgement', () => {
  const word = { id: alert.id, key, index: 3, atMs: nowMs };
  const raised = (severity: Alert['severity']) =>
    hear(acknowledged, { ...word, says: 'raised', severity, summary: 'down', node: 'node2' }, nowMs);

  test('holds until the alert gets worse, or ends', () => {
    assert.ok(raised('error')?.acknowledged);
    assert.ok(raised('warning')?.acknowledged);
    assert.equal(raised('critical')?.acknowledged, null);
    const begun = hear(over, { ...word, says: 'raised', severity: 'error', summary: 'down', node: null }, nowMs);
    assert.equal(begun?.acknowledged, null);
  });

  test('of what does not stand changes nothing', () => {
    const ack = { ...word, says: 'acknowledged', actor: 'ada', reason: 'on it' } as const;
    assert.equal(hear(undefined, ack, nowMs), undefined);
    assert.equal(hear(over, ack, nowMs), undefined);
    assert.equal(hear(alert, ack, nowMs)?.acknowledged?.by, 'ada');
  });
});
