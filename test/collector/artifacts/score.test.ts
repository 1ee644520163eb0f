import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  crossed,
  isNews,
  metricName,
  type ScoreFacts,
  type ScoreMetric,
  scoreArtifact,
} from '../../../collector/artifacts/score.ts';
import { artifactSettings } from '../../../collector/artifacts/settings.ts';
import { signatureStates } from '../../../common/lineage.ts';

const { scoring } = artifactSettings.parse({ scoring: { weights: {} } });

const share = fc.double({ min: 0, max: 1, noNaN: true });
const weight = fc.oneof(fc.constant(0), fc.double({ min: 0.001, max: 1_000, noNaN: true }));
const anyMetric: fc.Arbitrary<ScoreMetric> = fc.record({
  name: fc.constant('any'),
  weights: fc.record({
    ...{ drift: weight, signature: weight, provenance: weight, findings: weight, age: weight, scorecard: weight },
  }),
  freshDays: fc.nat(400),
  staleDays: fc.nat(400),
  maxFindings: fc.integer({ min: 1, max: 100 }),
});
const said = fc.option(fc.constant('x'));
const anyFacts: fc.Arbitrary<ScoreFacts> = fc
  .record({
    ageMs: fc.integer({ min: -86_400_000, max: 1_000 * 86_400_000 }),
    lineage: fc.record({
      ...{ name: said, image: said, imageId: said, commit: said, builder: said },
      parents: fc.option(fc.constant([])),
      signature: fc.constantFrom(...signatureStates),
    }),
    driftScore: fc.option(share),
    scorecardScore: fc.option(share),
    running: fc.nat(20),
    shares: fc.tuple(share, share),
    findings: fc.nat(1_000),
  })
  .map(({ shares: [astray, drifting], ...facts }) => {
    const some = Math.floor(facts.running * astray);
    return { ...facts, astray: some, drifting: Math.floor((facts.running - some) * drifting) };
  });

const rounding = 1e-4;
const total = (facts: ScoreFacts, metric: ScoreMetric) => scoreArtifact(facts, metric).total;

describe('whatever is known of an artifact', () => {
  test('its score and each part lie between 0 and 1, and weights of what is known come to 1', () => {
    fc.assert(
      fc.property(anyFacts, anyMetric, (facts, metric) => {
        const { total, parts } = scoreArtifact(facts, metric);
        assert.ok(total >= 0 && total <= 1);
        for (const { value, weight } of parts) {
          assert.ok(value === null ? weight === 0 : value >= 0 && value <= 1);
        }
        const all = parts.reduce((sum, { weight }) => sum + weight, 0);
        const isWeighed = parts.some(({ part, value }) => value !== null && metric.weights[part] > 0);
        assert.ok(Math.abs(all - (isWeighed ? 1 : 0)) <= parts.length * rounding);
        const mean = parts.reduce((sum, { value, weight }) => sum + (value ?? 0) * weight, 0);
        assert.ok(Math.abs(mean - total) <= 2 * parts.length * rounding);
      }),
    );
  });

  test('only the proportion of the weights counts', () => {
    fc.assert(
      fc.property(anyFacts, anyMetric, fc.integer({ min: 1, max: 8 }), (facts, metric, power) => {
        const { drift, signature, provenance, findings, age, scorecard } = metric.weights;
        const k = 2 ** power;
        const weights = { drift: drift * k, signature: signature * k, provenance: provenance * k };
        const others = { findings: findings * k, age: age * k, scorecard: scorecard * k };
        const scaled = { ...metric, weights: { ...weights, ...others } };
        assert.deepEqual(scoreArtifact(facts, scaled), scoreArtifact(facts, metric));
      }),
    );
  });

  test('nothing that gets worse makes the score better', () => {
    const worse: readonly ((facts: ScoreFacts) => ScoreFacts)[] = [
      (facts) => ({ ...facts, ageMs: facts.ageMs + 30 * 86_400_000 }),
      (facts) => ({ ...facts, findings: facts.findings + 1 }),
      (facts) => ({ ...facts, lineage: { ...facts.lineage, signature: 'none' } }),
      (facts) => ({ ...facts, lineage: { ...facts.lineage, commit: null } }),
      (facts) => ({ ...facts, lineage: { ...facts.lineage, parents: null } }),
      (facts) => ({ ...facts, driftScore: facts.driftScore === null ? null : (1 + facts.driftScore) / 2 }),
      (facts) => ({ ...facts, scorecardScore: facts.scorecardScore === null ? null : facts.scorecardScore / 2 }),
      (facts) => ({ ...facts, astray: facts.astray + facts.drifting, drifting: 0 }),
      (facts) => ({ ...facts, drifting: facts.running - facts.astray }),
      (facts) => ({ ...facts, astray: facts.running, drifting: 0 }),
    ];
    fc.assert(
      fc.property(anyFacts, anyMetric, fc.constantFrom(...worse), (facts, metric, made) => {
        assert.ok(total(made(facts), metric) <= total(facts, metric) + rounding);
      }),
    );
  });
});

describe('what crossing a threshold leads to', () => {
  const low = { below: 0.3, action: 'webhook_alert', target: 'https://ops.example/hook' } as const;
  const high = { atLeast: 0.9, action: 'pin_arweave' } as const;

  test('happens once: when the score gets there, not while it stays there', () => {
    const thresholds = [low, high];
    const asked = (previous: number | null, to: number) => crossed(thresholds, { previous, total: to });
    assert.deepEqual(asked(null, 0.29), [low]);
    assert.deepEqual(asked(0.3, 0.29), [low]);
    assert.deepEqual(asked(0.29, 0.1), []);
    assert.deepEqual(asked(0.29, 0.3), []);
    assert.deepEqual(asked(null, 0.9), [high]);
    assert.deepEqual(asked(0.9, 1), []);
    assert.deepEqual(asked(0.1, 0.95), [high]);
    assert.deepEqual(asked(null, 0.5), []);
  });

  test('never happens again without going back over it first', () => {
    fc.assert(
      fc.property(fc.array(share, { minLength: 1 }), (totals) => {
        let [isBelow, crossings, expected] = [false, 0, 0];
        for (const [at, to] of totals.entries()) {
          crossings += crossed([low], { previous: totals[at - 1] ?? null, total: to }).length;
          if (to < 0.3 && !isBelow) expected += 1;
          isBelow = to < 0.3;
        }
        assert.equal(crossings, expected);
      }),
    );
  });
});

const plain: ScoreFacts = {
  ageMs: 0,
  lineage: {
    name: 'app',
    image: 'app:1',
    imageId: null,
    commit: 'c',
    builder: 'ci',
    parents: [],
    signature: 'verified',
  },
  ...{ driftScore: null, scorecardScore: null, running: 0, astray: 0, drifting: 0, findings: 0 },
};

describe('the metric of the settings', () => {
  test('gives what is signed, of known origin and new everything, and supposes nothing of what does not run', () => {
    const { total, parts } = scoreArtifact(plain, scoring);
    assert.equal(total, 1);
    assert.deepEqual(
      parts.flatMap(({ part, value }) => (value === null ? [part] : [])),
      ['drift', 'findings', 'scorecard'],
    );
  });

  test('takes what is seen for more than what was said', () => {
    const seen = scoreArtifact({ ...plain, driftScore: 0, running: 2, astray: 2 }, scoring);
    assert.equal(seen.parts.find(({ part }) => part === 'drift')?.value, 0);
  });

  test('has another name when one of its numbers is another', () => {
    assert.match(metricName(scoring), /^default@[0-9a-f]{12}$/);
    assert.notEqual(metricName({ ...scoring, freshDays: 31 }), metricName(scoring));
  });

  test('says nothing new of what is a day older, and something of what is half a year older', () => {
    const before = scoreArtifact(plain, scoring);
    const after = (days: number) => scoreArtifact({ ...plain, ageMs: days * 86_400_000 }, scoring);
    assert.equal(isNews(after(1), before), false);
    assert.equal(isNews(after(180), before), true);
    assert.equal(isNews(before, undefined), true);
  });

  test('has to weigh something, and each threshold lies on one side', () => {
    const none = { drift: 0, signature: 0, provenance: 0, findings: 0, age: 0, scorecard: 0 };
    assert.equal(artifactSettings.safeParse({ scoring: { weights: none } }).success, false);
    for (const threshold of [{ action: 'pin_arweave' }, { below: 0.2, atLeast: 0.9, action: 'pin_arweave' }]) {
      const settings = { scoring: { weights: {}, thresholds: [threshold] } };
      assert.equal(artifactSettings.safeParse(settings).success, false);
    }
  });
});
