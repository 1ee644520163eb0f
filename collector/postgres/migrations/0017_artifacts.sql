-- Artifacts: what was registered and scored, derived from the entries; and how far the sweeper has come, which is not.

create table artifacts (
  -- Hex SHA-256.
  id               text             collate "C" primary key,
  first_index      bigint           not null,
  first_at         timestamptz      not null,
  -- Of the registration that counts, which the following columns are of.
  registered_index bigint           not null,
  registered_at    timestamptz      not null,
  name             text,
  kind             text,
  -- Canonical JSON, and what is understood of it.
  lineage          text             not null,
  image            text,
  image_id         text,
  commit           text,
  drift_score      double precision,
  scorecard_score  double precision,
  -- Of the last score.
  score_index      bigint,
  scored_at        timestamptz,
  total            double precision
);
create unique index artifacts_by_age on artifacts (first_index);
create index artifacts_by_time on artifacts (first_at);
create index artifacts_by_registration on artifacts (registered_index);
create index artifacts_by_name on artifacts (name, first_index);
create index artifacts_by_image on artifacts (image, first_index);
create index artifacts_by_image_id on artifacts (image_id, first_index);
create index artifacts_by_commit on artifacts (commit, first_index);
create index artifacts_by_score on artifacts (total, first_index);

create table artifact_registrations (
  index           bigint           primary key,
  at              timestamptz      not null,
  id              text             collate "C" not null,
  name            text,
  kind            text,
  lineage         text             not null,
  drift_score     double precision,
  scorecard_score double precision,
  actor           text             not null
);
create index artifact_registrations_of on artifact_registrations (id, index);

create table artifact_scores (
  index    bigint           primary key,
  at       timestamptz      not null,
  artifact text             collate "C" not null,
  total    double precision not null,
  previous double precision,
  metric   text             not null,
  parts    jsonb            not null
);
create index artifact_scores_of on artifact_scores (artifact, index);

-- Which artifact is to be looked at when; and the nodes that ran it at the last look, whose changes are its changes.
create table artifact_sweeps (
  artifact text        collate "C" primary key,
  due_at   timestamptz not null,
  nodes    text[]      not null default '{}'
);
create index artifact_sweeps_due on artifact_sweeps (due_at, artifact);
create index artifact_sweeps_of_nodes on artifact_sweeps using gin (nodes);

create table artifact_sweep_state (
  only_row    boolean primary key default true check (only_row),
  -- Entries before it were looked at for what changed; scores before it were held against the thresholds.
  seen_to     bigint  not null default 0,
  answered_to bigint  not null default 0
);

-- From an artifact to what runs it, and from a container to what is wrong with it now.
create index containers_by_image_id on containers (image_id, node, id);
create index drifts_standing_of_container on drifts (node, container) where resolved_index is null;
