import { collectorAuthor } from '../../common/entry.ts';
import { lineageText, understood } from '../../common/lineage.ts';
import type { From, ProjectionChanges } from '../ledger/projections.ts';
import type { Step } from './pipeline.ts';

/**
 * What a run of entries says of artifacts. One row for each artifact, of what was said last; and of every registration and score
 * a row that stays. Only the collector may say it, which its key is checked for before.
 */
export function artifactSteps({ artifacts, artifactScores }: ProjectionChanges): Step[] {
  const registered = artifacts.filter(ofCollector).map(registrationColumns);
  const scored = artifactScores.filter(ofCollector);
  return [
    ...step(keepRegistrations, registered),
    ...step(keepArtifacts, registered),
    ...step(keepScores, scored),
    ...step(setScores, scored),
  ];
}

function step(text: string, rows: readonly unknown[]): Step[] {
  return rows.length === 0 ? [] : [{ text, values: [JSON.stringify(rows)] }];
}

function ofCollector({ node }: { readonly node: string }): boolean {
  return node === collectorAuthor;
}

function registrationColumns({ lineage, name, ...registered }: From<'artifact.registered'>) {
  const { imageId, image, commit, name: named } = understood(lineage);
  return { ...registered, name: name ?? named, lineage: lineageText(lineage), image, imageId, commit };
}

const columns = `index bigint, at timestamptz, id text, name text, kind text, lineage text, image text, "imageId" text,
                 commit text, "driftScore" double precision, "scorecardScore" double precision, actor text`;

const keepRegistrations = `
  insert into artifact_registrations (index, at, id, name, kind, lineage, drift_score, scorecard_score, actor)
  select index, at, id, name, kind, lineage, "driftScore", "scorecardScore", actor
    from json_to_recordset($1) as x(${columns})
  on conflict (index) do nothing`;

const keepArtifacts = `
  insert into artifacts as a (id, first_index, first_at, registered_index, registered_at, name, kind, lineage, image, image_id,
                              commit, drift_score, scorecard_score)
  select distinct on (id) id, min(index) over of_id, first_value(at) over of_id, index, at, name, kind, lineage, image, "imageId",
                          commit, "driftScore", "scorecardScore"
    from json_to_recordset($1) as x(${columns})
  window of_id as (partition by id order by index)
   order by id, index desc
  on conflict (id) do update
     set registered_index = excluded.registered_index, registered_at = excluded.registered_at, name = excluded.name,
         kind = excluded.kind, lineage = excluded.lineage, image = excluded.image, image_id = excluded.image_id,
         commit = excluded.commit, drift_score = excluded.drift_score, scorecard_score = excluded.scorecard_score
   where a.registered_index < excluded.registered_index`;

const keepScores = `
  insert into artifact_scores (index, at, artifact, total, previous, metric, parts)
  select index, at, artifact, total, previous, metric, parts
    from json_to_recordset($1) as x(index bigint, at timestamptz, artifact text, total double precision,
                                     previous double precision, metric text, parts jsonb)
  on conflict (index) do nothing`;

/** A score of something that was registered only later is of nothing. */
const setScores = `
  update artifacts a set score_index = x.index, scored_at = x.at, total = x.total
    from (select distinct on (artifact) r.*
            from json_to_recordset($1) as r(index bigint, at timestamptz, artifact text, total double precision)
            join artifacts known on known.id = r.artifact and known.first_index < r.index
           order by artifact, r.index desc) x
   where a.id = x.artifact and coalesce(a.score_index, a.first_index) < x.index`;
