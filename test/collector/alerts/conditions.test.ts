import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Severity } from '../../../collector/alerts/alert.ts';
import { alertNameOf, ruleNames, severitiesOf } from '../../../collector/alerts/catalog.ts';
import { isOfRule, judge as judged } from '../../../collector/alerts/conditions.ts';
import { rules } from '../../../collector/alerts/rules/all.ts';
import { type Facts, factsFrom, type NodeFacts, type ReportFacts } from '../../../collector/alerts/rules/facts.ts';
import { type Failing, failingConditions, failingFrom } from '../../../collector/alerts/rules/failing.ts';
import type { Moment } from '../../../collector/alerts/rules/rule.ts';
import { ruleSettings } from '../../../collector/alerts/rules/settings.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';

const nowMs = Date.parse('2026-03-01T10:00:00.000Z');
const hourMs = 3_600_000;
const digest = '0'.repeat(64);
const settings = ruleSettings.parse({});
const sound = {
  store: 'main',
  status: 'ok',
  findingsDigest: digest,
  openFindings: 0,
  checkedRecords: 9,
  error: null,
} as const;
const quiet: Facts = {
  ...{ nodes: [], drifts: [], losses: [], forks: [], equivocations: [], failedOrders: [], waitingOrders: [] },
  ...{ integrityRuns: [], ledgerCheck: { endedAtMs: null, awaitedSinceMs: null }, deadLetters: [], deadJobs: [] },
  ...{ witnesses: { required: 1, unwitnessedSinceMs: null } },
};

/** Holds what is true of every condition. */
function judge(facts: Partial<Facts>, moment: Partial<Moment> = {}) {
  const at: Moment = { nowMs, sinceMs: 0, settings, standing: new Map(), ...moment };
  const { conditions, failed } = judged({ ...quiet, ...facts }, at);
  assert.deepEqual([...failed], []);
  for (const { key, summary, severity } of conditions) {
    assert.ok(isOfRule({ key }), key);
    assert.ok(summary.length <= limits.maxOwnTextChars && summary.isWellFormed() && !/\p{Cc}/u.test(summary), summary);
    assert.ok(severitiesOf(alertNameOf(key)).includes(severity), `${key} ${severity}`);
  }
  return conditions;
}

const keysOf = (facts: Partial<Facts>, moment: Partial<Moment> = {}) => judge(facts, moment).map(({ key }) => key);
const toldOf = (facts: Partial<Facts>, moment: Partial<Moment> = {}) =>
  judge(facts, moment).map(({ key, severity }) => `${severity} ${key}`);
const nodeWith = (facts: Partial<NodeFacts>) => ({
  nodes: [{ node: 'lyra', heardAtMs: nowMs, report: null, ...facts }],
});
const reporting = (report: Partial<ReportFacts>) =>
  nodeWith({ report: { coverage: 'observed', stores: [], disk: null, ...report } });
const standing = (key: string, severity: Severity) => ({ standing: new Map([[key, severity]]) });

describe('people hear of', () => {
  test('a node that is not heard any more, once somebody has listened for long enough', () => {
    const heardAtMs = nowMs - limits.alertNodeSilentMs;
    assert.deepEqual(keysOf(nodeWith({ heardAtMs: heardAtMs + 1 })), []);
    assert.deepEqual(keysOf(nodeWith({ heardAtMs })), ['node.silent/lyra']);
    assert.deepEqual(keysOf(nodeWith({ heardAtMs }), { sinceMs: nowMs - 1 }), []);
  });

  test('a node that was silent before somebody began to listen, until it is heard', () => {
    const listening = { sinceMs: nowMs - 1, ...standing('node.silent/lyra', 'error') };
    assert.deepEqual(keysOf(nodeWith({ heardAtMs: nowMs - limits.alertNodeSilentMs }), listening), [
      'node.silent/lyra',
    ]);
    assert.deepEqual(keysOf(nodeWith({ heardAtMs: nowMs - 1 }), listening), []);
  });

  test('a node that was heard last by a clock that was set back since, once it could have been heard again', () => {
    const heardAtMs = nowMs + 24 * hourMs;
    assert.deepEqual(keysOf(nodeWith({ heardAtMs })), ['node.silent/lyra']);
    assert.deepEqual(keysOf(nodeWith({ heardAtMs }), { sinceMs: nowMs - 1 }), []);
  });

  test('what a node cannot look at, and of doubtful clocks', () => {
    const covered = (coverage: ReportFacts['coverage']) => keysOf(reporting({ coverage }));
    assert.deepEqual([covered('observed'), covered('late')], [[], []]);
    assert.deepEqual(covered('engine-down'), ['engine.down/lyra']);
    assert.deepEqual(covered('clock-suspect'), ['clock.suspect/lyra']);
  });

  test('findings, and stores that cannot be checked, each store by itself', () => {
    const error = 'x'.repeat(limits.maxOwnTextChars);
    const stores = [
      sound,
      { ...sound, store: 'bad', status: 'findings', openFindings: 3 } as const,
      { ...sound, store: 'away', status: 'unreadable', openFindings: 1, error } as const,
      { ...sound, store: 'new', status: 'pending' } as const,
    ];
    assert.deepEqual(keysOf(reporting({ stores })), ['sigils.findings/lyra/bad', 'sigils.unreadable/lyra/away']);
  });

  test('a store that a report names twice, once', () => {
    const twice = { ...sound, status: 'findings', openFindings: 1 } as const;
    assert.deepEqual(keysOf(reporting({ stores: [twice, { ...twice, openFindings: 2 }] })), [
      'sigils.findings/lyra/main',
    ]);
  });

  test('what stood when a node fell silent', () => {
    const stores = [{ ...sound, status: 'findings', openFindings: 1 } as const];
    const report = { coverage: 'observed', stores, disk: null } as const;
    assert.deepEqual(keysOf(nodeWith({ heardAtMs: 0, report })), ['node.silent/lyra', 'sigils.findings/lyra/main']);
  });

  test('drifts that last, once for a node and kind, whatever the containers are called', () => {
    const hostile = ['\ud800\u001b[2J\n\u0000', 'x'.repeat(512), ...Array.from({ length: 9 }, (_, i) => `c${i}`)];
    const drifts = [
      { node: 'lyra', kind: 'UNAUTHORIZED_CONTAINER', count: limits.maxAlertedContainers, containers: hostile },
      { node: 'lyra', kind: 'MISSING_CONTAINER', count: 1, containers: ['web'] },
      { node: 'node1', kind: 'IMAGE_DRIFT', count: 2, containers: ['web', 'db'] },
      { node: 'node1', kind: 'CONFIG_DRIFT', count: 1, containers: ['web'] },
    ] as const;
    assert.deepEqual(toldOf({ drifts }), [
      'critical drift.unauthorized/lyra',
      'error drift.missing/lyra',
      'error drift.image/node1',
      'warning drift.config/node1',
    ]);
    const [many, , two] = judge({ drifts }).map(({ summary }) => summary);
    assert.match(many ?? '', /^on lyra, 1000 or more containers run .*: .*, c7, \.\.\.$/);
    assert.match(two ?? '', /: web, db$/);
  });

  test('minutes that nobody watched when they add up, of anything that was dropped, and of an outbox that was damaged', () => {
    const lossesOf = (gapMs: number, dropped: number, recovered = 0) => ({
      losses: [{ node: 'lyra', gaps: 2, gapMs, dropped, recovered }],
    });
    assert.deepEqual(toldOf(lossesOf(settings.gapMs - 1, 0)), []);
    assert.deepEqual(toldOf(lossesOf(settings.gapMs, 0)), ['warning coverage.lost/lyra']);
    assert.deepEqual(toldOf(lossesOf(0, 1)), ['error coverage.lost/lyra']);
    assert.deepEqual(toldOf(lossesOf(0, 0, 1)), ['error coverage.lost/lyra']);
    const dropsAlone = { losses: [{ node: 'lyra', gaps: 0, gapMs: 0, dropped: 0, recovered: 0 }] };
    assert.deepEqual(keysOf(dropsAlone, { settings: { ...settings, gapMs: 0 } }), []);
  });

  test('forks and keys that are used twice', () => {
    assert.deepEqual(toldOf({ forks: ['lyra'], equivocations: ['node1'] }), [
      'critical witness.fork/lyra',
      'critical ledger.equivocation/node1',
    ]);
  });

  test('witnesses that are behind for long, where any are asked', () => {
    const behind = (required: number | null, forMs: number) =>
      toldOf({ witnesses: { required, unwitnessedSinceMs: nowMs - forMs } });
    assert.deepEqual(behind(2, settings.unwitnessedMs - 1), []);
    assert.deepEqual(behind(2, settings.unwitnessedMs), ['error witness.behind/ledger']);
    assert.deepEqual(behind(null, settings.unwitnessedMs), ['error witness.behind/ledger']);
    assert.deepEqual(behind(0, settings.unwitnessedMs), []);
  });

  test('orders that came to nothing, and those that wait for somebody', () => {
    const concerned = [{ node: 'lyra', count: 2, containers: ['web', 'db'] }];
    assert.deepEqual(toldOf({ failedOrders: concerned, waitingOrders: concerned }), [
      'error enforcement.failed/lyra',
      'warning enforcement.waiting/lyra',
    ]);
  });

  test('integrity runs that are overdue, or could not check everything', () => {
    const runOf = (agoMs: number, status: 'ok' | 'unchecked' | null = 'ok') => ({
      ...nodeWith({}),
      integrityRuns: [{ node: 'lyra', receivedAtMs: nowMs - agoMs, status }],
    });
    assert.deepEqual(toldOf(runOf(26 * hourMs - 1)), []);
    assert.deepEqual(toldOf(runOf(26 * hourMs)), ['warning integrity.overdue/lyra']);
    assert.deepEqual(toldOf(runOf(hourMs, 'unchecked')), ['warning integrity.unchecked/lyra']);
    assert.deepEqual(toldOf(runOf(hourMs, null)), []);
  });

  test('no overdue run of a node that cannot tell of it, unless it was overdue before', () => {
    const integrityRuns = [{ node: 'lyra', receivedAtMs: nowMs - 48 * hourMs, status: 'ok' } as const];
    const silent = { ...nodeWith({ heardAtMs: nowMs - hourMs }), integrityRuns };
    const stood = standing('integrity.overdue/lyra', 'warning');
    assert.deepEqual(keysOf(silent), ['node.silent/lyra']);
    assert.deepEqual(keysOf(silent, stood), ['node.silent/lyra', 'integrity.overdue/lyra']);
    // The collector has only just begun to listen, and the report may be on its way.
    assert.deepEqual(keysOf(silent, { sinceMs: nowMs - 1 }), []);
  });

  test('a ledger that nobody has checked for long, whatever the last check found', () => {
    const key = 'ledger.overdue/ledger';
    const ended = (agoMs: number, moment: Partial<Moment> = {}) =>
      toldOf({ ledgerCheck: { endedAtMs: nowMs - agoMs, awaitedSinceMs: 0 } }, moment);
    assert.deepEqual(ended(settings.ledgerCheckMs - 1), []);
    assert.deepEqual(ended(settings.ledgerCheckMs), [`error ${key}`]);
    // By a clock that was set back since.
    assert.deepEqual(ended(-24 * hourMs), [`error ${key}`]);
    assert.deepEqual(ended(-1), []);
  });

  test('a ledger of which no check ever came to an end, once there was time for one, and never where none is awaited', () => {
    const never = (awaitedSinceMs: number | null) => keysOf({ ledgerCheck: { endedAtMs: null, awaitedSinceMs } });
    assert.deepEqual(never(null), []);
    assert.deepEqual(never(nowMs - settings.ledgerCheckMs + 1), []);
    assert.deepEqual(never(nowMs - settings.ledgerCheckMs), ['ledger.overdue/ledger']);
  });

  test('no overdue check of the ledger while a collector that was away makes it up, unless it stood before', () => {
    const ledgerCheck = { endedAtMs: nowMs - 48 * hourMs, awaitedSinceMs: 0 };
    const begun = { sinceMs: nowMs - limits.alertLedgerCheckGraceMs + 1 };
    const stood = standing('ledger.overdue/ledger', 'error');
    assert.deepEqual(keysOf({ ledgerCheck }, begun), []);
    assert.deepEqual(keysOf({ ledgerCheck }, { ...begun, ...stood }), ['ledger.overdue/ledger']);
    assert.deepEqual(keysOf({ ledgerCheck }, { sinceMs: nowMs - limits.alertLedgerCheckGraceMs }), [
      'ledger.overdue/ledger',
    ]);
  });

  test('channels that notifications do not reach', () => {
    assert.deepEqual(toldOf({ deadLetters: [{ channel: 'slack', count: 2 }] }), ['error notifications.dead/slack']);
    assert.deepEqual(toldOf({ deadJobs: [{ action: 'pin_arweave', count: 1 }] }), [
      'error jobs.dead_letters/pin_arweave',
    ]);
  });

  test('a disk that fills up, and its end only when there is a little more room', () => {
    const disk = (percent: number, before?: Severity) =>
      toldOf(
        reporting({ disk: { freeBytes: percent * 1e9, totalBytes: 100e9 } }),
        before && standing('disk.low/lyra', before),
      );
    assert.deepEqual([disk(10), disk(9.9), disk(3)], [[], ['warning disk.low/lyra'], ['warning disk.low/lyra']]);
    assert.deepEqual([disk(2.9), disk(0)], [['error disk.low/lyra'], ['error disk.low/lyra']]);
    assert.deepEqual([disk(10.9, 'warning'), disk(11, 'warning')], [['warning disk.low/lyra'], []]);
    assert.deepEqual([disk(3.9, 'error'), disk(4, 'error')], [['error disk.low/lyra'], ['warning disk.low/lyra']]);
    assert.deepEqual(keysOf(reporting({ disk: { freeBytes: 0, totalBytes: 0 } })), []);
  });
});

test('a rule that is off says nothing, and the others go on', () => {
  const facts = { forks: ['lyra'], equivocations: ['lyra'] };
  const off = ruleSettings.parse({ off: ['witness.fork'] });
  assert.deepEqual(keysOf(facts, { settings: off }), ['ledger.equivocation/lyra']);
  assert.equal(ruleSettings.safeParse({ off: ['no.such'] }).success, false);
});

describe('a rule that cannot judge', () => {
  const broken = new AppError('internal.error', 'no such column');
  const of =
    <T>(fact: T) =>
    () =>
      fact;
  const unread = factsFrom({
    ...{ nodes: of([]), drifts: of([]), forks: of(['lyra']), failedOrders: of([]), waitingOrders: of([]) },
    ...{
      integrityRuns: of([]),
      equivocations: of([]),
      deadLetters: of([]),
      deadJobs: of([]),
      witnesses: of(quiet.witnesses),
    },
    ledgerCheck: of(quiet.ledgerCheck),
    losses: () => {
      throw broken;
    },
  });
  const moment: Moment = { nowMs, sinceMs: 0, settings, standing: new Map() };
  const failed = new Map([['coverage.lost', broken]]);
  const key = 'alerts.rule_failed/coverage.lost';

  test('keeps no other from it, and is known with the reason', () => {
    const judgement = judged(unread, moment);
    assert.deepEqual(
      judgement.conditions.map((condition) => condition.key),
      ['witness.fork/lyra'],
    );
    assert.deepEqual([...judgement.failed], [...failed]);
  });

  test('is off when it is off', () => {
    const off = ruleSettings.parse({ off: ['coverage.lost'] });
    assert.deepEqual([...judged(unread, { ...moment, settings: off }).failed], []);
  });

  test('is told of once it lasts, until it can judge again', () => {
    const at = (ms: number, stands = false) => ({
      ...{ nowMs: nowMs + ms, settings },
      standing: new Map<string, Severity>(stands ? [[key, 'error']] : []),
    });
    const keys = (failing: Failing, then: ReturnType<typeof at>) =>
      failingConditions(failing, then).map((it) => it.key);
    const begun = failingFrom(new Map(), failed, at(0));
    const almost = at(limits.alertRuleFailedMs - 1);
    const lasts = at(limits.alertRuleFailedMs);
    assert.deepEqual(keys(failingFrom(begun, failed, almost), almost), []);
    assert.deepEqual(keys(failingFrom(begun, failed, lasts), lasts), [key]);
    assert.deepEqual(keys(failingFrom(begun, new Map(), lasts), lasts), []);
    assert.deepEqual(
      failingConditions(begun, { ...lasts, settings: ruleSettings.parse({ off: ['alerts.rule_failed'] }) }),
      [],
    );
    for (const { summary, severity } of failingConditions(begun, lasts)) {
      assert.ok(summary.length <= limits.maxOwnTextChars && severitiesOf(alertNameOf(key)).includes(severity));
    }
  });

  test('is not told of at every look where another collector can judge', () => {
    const lasts = { nowMs: nowMs + limits.alertRuleFailedMs, settings };
    const standing = new Map([[key, 'error']] as const);
    const stood = failingFrom(new Map([['coverage.lost', nowMs]]), failed, { ...lasts, standing });
    assert.equal(failingConditions(stood, { ...lasts, standing }).length, 1);
    assert.deepEqual(failingConditions(stood, { ...lasts, standing: new Map() }), []);
  });
});

test('every rule has a name of its own, which no slash ends early', () => {
  const names = rules.map(({ name }) => name);
  assert.deepEqual([...names, 'alerts.rule_failed'].toSorted(), ruleNames.toSorted());
  assert.ok(names.every((name) => /^[a-z]+\.[a-z_]+$/.test(name) && alertNameOf(`${name}/x/y`) === name));
  assert.ok(!isOfRule({ key: 'enforcement.frozen/0a1b' }) && !isOfRule({ key: 'disk.lower/lyra' }));
});
