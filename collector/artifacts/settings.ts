import { z } from 'zod';
import { limits } from '../../common/limits.ts';

const weight = (ofDefault: number) => z.number().min(0).max(1_000).default(ofDefault);
const days = z.int().min(0).max(36_500);

/** What crossing a score leads to. */
export const thresholdActions = ['webhook_alert', 'pin_arweave'] as const;

const threshold = z
  .strictObject({
    below: z.number().gt(0).max(1).optional(),
    atLeast: z.number().gt(0).max(1).optional(),
    action: z.enum(thresholdActions),
    /** As the action understands it: a URL for a webhook. */
    target: z.string().min(1).max(limits.maxOwnTextChars).optional(),
  })
  .refine(({ below, atLeast }) => (below === undefined) !== (atLeast === undefined), 'either below or atLeast');

/** How artifacts are scored, and what follows. */
export const artifactSettings = z.strictObject({
  scoring: z.strictObject({
    name: z
      .string()
      .regex(/^[A-Za-z0-9][\w.-]{0,63}$/, 'letters, digits, dots, hyphens')
      .default('default')
      .describe('Name of this way of scoring; goes on record with a digest of its numbers'),
    weights: z
      .strictObject({
        drift: weight(3).describe('Weight of: containers that run it are as the manifest wants them'),
        signature: weight(2).describe('Weight of: its lineage has a signature'),
        provenance: weight(2).describe('Weight of: its lineage says where it comes from'),
        findings: weight(2).describe('Weight of: nodes that run it have no findings in their sigil stores'),
        age: weight(1).describe('Weight of: it was registered not long ago'),
        scorecard: weight(0).describe('Weight of: the scorecard_score that it was registered with'),
      })
      .refine((weights) => Object.values(weights).some((value) => value > 0), 'at least one weight above 0'),
    freshDays: days.default(30).describe('An artifact up to this old is as good as new'),
    staleDays: days.default(365).describe('One this old or older gets nothing for its age'),
    maxFindings: z
      .int()
      .min(1)
      .max(limits.maxScoredFindings)
      .default(10)
      .describe('As many findings on its nodes, or more, and it gets nothing for them'),
    thresholds: z
      .array(threshold)
      .max(limits.maxScoreThresholds)
      .default([])
      .describe('What is done once when a score comes below or reaches a number: below or atLeast, action, target'),
    intervalMs: z
      .int()
      .min(1_000)
      .max(86_400_000)
      .default(limits.sweepIntervalMs)
      .describe('How often artifacts are looked at whose facts have changed'),
  }),
});

export type ArtifactSettings = z.output<typeof artifactSettings>;
export type ScoringSettings = ArtifactSettings['scoring'];
export type ScoreThreshold = ScoringSettings['thresholds'][number];
export type ThresholdAction = ScoreThreshold['action'];
