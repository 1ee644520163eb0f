import { z } from 'zod';
import { nodeName } from '../../common/fields.ts';
import { artifactKinds, scoreParts } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { lineageSchema, sha256Named, signatureStates } from '../../common/lineage.ts';
import { contract, moment, pageOf, pathText } from './contract.ts';
import { filterText, filterTime, pageParameters } from './fields.ts';

const sha256Form = '64 hex digits, with or without "sha256:" before them';

/** Becomes 64 lower-case hex digits. */
const sha256 = pathText
  .refine((text) => sha256Named(text) !== undefined, sha256Form)
  .transform((text) => sha256Named(text) ?? text);

/** Not judged by a form: what is not understood of it is kept all the same. */
const lineageGiven = z
  .unknown()
  .transform((value, { issues }) => {
    const { data, error } = lineageSchema.safeParse(value);
    if (data !== undefined) return data;
    issues.push({ code: 'custom', message: error?.issues[0]?.message ?? 'refused', input: value });
    return z.NEVER;
  })
  .meta({
    type: 'object',
    description:
      `where it comes from: any JSON object of up to ${limits.maxLineageBytes} bytes and ${limits.maxLineageDepth} levels; ` +
      'understood are name, image, image_id, commit, builder, parents, signature',
  });

const lineage = z.record(z.string(), z.unknown()).describe('as it was given');
const score = z.number().min(0).max(1);
const given = {
  name: z.string().nullable(),
  kind: z.enum(artifactKinds).nullable(),
  lineage,
  drift_score: score.nullable(),
  scorecard_score: score.nullable(),
};

export const artifact = z
  .object({
    artifact_id: z.string(),
    hash: z.string().describe('its SHA-256, which is its id, too'),
    ...given,
    created_at: moment.describe('when it was registered first'),
    created_index: z.int(),
    registered_at: moment.describe('of the registration that counts'),
    registered_index: z.int(),
    score: z.object({ total: score, index: z.int(), at: moment }).nullable().describe('the last one'),
  })
  .meta({ id: 'Artifact' });

const parts = z
  .array(z.object({ part: z.enum(scoreParts), value: score.nullable(), weight: score }))
  .describe('what the last score is made of; null is not known, and weighs nothing');

const trend = z
  .object({
    weeks: z.array(z.object({ from: moment, to: moment, mean: score.nullable() })),
    change: z.number().nullable().describe('from the first week that has a mean to the last'),
    slope_per_week: z.number().nullable(),
  })
  .describe('four weeks, the oldest first; a mean is by how long each score stood');

const artifactStory = artifact
  .extend({
    registrations: z
      .array(z.object({ index: z.int(), at: moment, ...given, actor: z.string() }))
      .describe('everything that was said of it, newest first'),
    parts,
    scores: z
      .array(
        z.object({
          index: z.int(),
          at: moment,
          total: score,
          previous: score.nullable(),
          metric: z.string(),
          parts,
        }),
      )
      .describe('of four weeks, newest first, and the one before'),
    trend,
  })
  .meta({ id: 'ArtifactStory' });

const scoreText = z
  .string()
  .regex(/^[0-9]+(\.[0-9]{1,10})?$/, 'a number from 0 to 1')
  .transform(Number)
  .pipe(score);

const filters = {
  ...pageParameters,
  name: filterText.optional(),
  image: filterText.optional(),
  commit: filterText.optional(),
  score_below: scoreText.optional(),
  score_at_least: scoreText.optional(),
  from: filterTime.optional(),
  to: filterTime.optional(),
};

export const artifactList = contract({
  operation: 'artifacts.list',
  method: 'get',
  path: '/api/v1/artifacts',
  aliases: ['/artifacts'],
  permission: 'artifacts.read',
  summary: 'Artifacts, those that were registered first last, first',
  query: z.strictObject(filters),
  answers: { 200: pageOf(artifact) },
});

export const artifactTrends = contract({
  operation: 'artifact_scores.list',
  method: 'get',
  path: '/api/v1/artifact-scores',
  permission: 'artifacts.read',
  summary: 'Scores of artifacts, and how they went in four weeks',
  query: z.strictObject(filters),
  answers: {
    200: pageOf(
      z.object({ artifact_id: z.string(), name: z.string().nullable(), score: artifact.shape.score, parts, trend }),
    ),
  },
});

export const artifactRegister = contract({
  operation: 'artifacts.register',
  method: 'post',
  path: '/api/v1/artifacts',
  aliases: ['/artifacts'],
  permission: 'artifacts.register',
  summary: 'Say of an artifact where it comes from; the same again changes nothing',
  body: z.strictObject({
    hash: sha256.describe(sha256Form),
    name: filterText.nullable().default(null),
    kind: z.enum(artifactKinds).nullable().default(null),
    lineage: lineageGiven,
    drift_score: score.nullable().default(null).describe('how far it has drifted: 0 for not at all'),
    scorecard_score: score.nullable().default(null).describe('1 for the best'),
  }),
  bodyIs: 'an artifact',
  answers: { 200: artifact, 201: artifact },
});

export const artifactShow = contract({
  operation: 'artifacts.show',
  method: 'get',
  path: '/api/v1/artifacts/:id',
  aliases: ['/artifacts/:id'],
  permission: 'artifacts.read',
  summary: 'One artifact: everything that was said of it, its score and how that went in four weeks',
  params: z.object({ id: sha256 }),
  answers: { 200: artifactStory },
});

export const artifactSweep = contract({
  operation: 'artifacts.sweep',
  method: 'post',
  path: '/api/v1/artifacts/sweep',
  permission: 'artifacts.sweep',
  summary: 'Score now what is new or has changed, as the collector does by itself',
  answers: {
    200: z.object({
      swept: z.boolean().describe('false while another sweep is under way'),
      looked: z.int(),
      scored: z.int().describe('scores that went on record'),
      requested: z.int().describe('enforcements that thresholds asked for'),
    }),
  },
});

const place = { index: z.int(), at: moment.nullable() };

const story = z
  .object({
    containers: z.array(
      z.object({
        node: z.string(),
        name: z.string(),
        seen: z
          .object({ id: z.string(), image: z.string(), image_id: z.string(), state: z.string(), ...place })
          .nullable()
          .describe('as its node saw it last; null where it is gone'),
      }),
    ),
    artifacts: z.array(
      artifact.extend({
        origin: z.object({
          image: z.string().nullable(),
          image_id: z.string().nullable(),
          commit: z.string().nullable(),
          builder: z.string().nullable(),
          signature: z.enum(signatureStates),
          parents: z
            .array(z.object({ artifact_id: z.string(), name: z.string().nullable(), is_known: z.boolean() }))
            .nullable(),
        }),
        runs_on: z.array(
          z.object({
            node: z.string(),
            container: z.string(),
            container_id: z.string(),
            state: z.string(),
            matched_by: z.enum(['image_id', 'image']),
            ...place,
          }),
        ),
      }),
    ),
    commits: z
      .array(
        z.object({
          commit: z.string(),
          named_by: z.array(z.int()),
          adopted: z.array(z.object({ node: z.string(), ...place })),
        }),
      )
      .describe('of the manifest, that drifts and orders name'),
    steps: z
      .array(
        z.object({
          ...place,
          kind: z.string(),
          author: z.string(),
          what: z.string(),
          artifact: z.string().nullable(),
          container: z.string().nullable(),
          drift: z.string().nullable(),
          order: z.string().nullable(),
          commit: z.string().nullable(),
        }),
      )
      .describe('entries of the ledger, oldest first'),
    complete: z.boolean().describe('false where there is more than is told'),
  })
  .meta({ id: 'Story' });

export const explainShow = contract({
  operation: 'explain.show',
  method: 'get',
  path: '/api/v1/explain',
  permission: 'artifacts.read',
  summary: 'Where a container or an artifact comes from, and what happened to it',
  query: z.strictObject({
    container: filterText.optional().describe('its name; or 12 digits of its id or more, with the node'),
    node: nodeName.optional(),
    artifact: sha256.optional().describe('in place of a container'),
  }),
  answers: { 200: story },
});
