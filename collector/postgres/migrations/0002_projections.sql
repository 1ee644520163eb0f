-- Projections: what the ledger says, in a form that can be asked. Derived in the same transaction as the entries and
-- rebuilt from them at any time; `*_index` columns name the entry a value comes from.

create table author_heads (
  author     text   primary key,
  seq        bigint not null,
  entry_hash bytea  not null,
  index      bigint not null
);

create table nodes (
  node             text        primary key,
  public_key       bytea       not null,
  fingerprint      text        not null,
  enrolled_at      timestamptz not null,
  enrolled_index   bigint      not null,
  -- Of the first enrolment: what was said under the name before it is not the node's.
  first_index      bigint      not null,
  revoked_at       timestamptz,
  started_index    bigint,
  started_at       timestamptz,
  agent_version    text,
  hostname         text,
  last_index       bigint,
  last_entry_at    timestamptz,
  report_index     bigint,
  report_minute    timestamptz,
  coverage         text,
  containers       bigint,
  unobserved       bigint,
  open_drifts      bigint,
  stores           jsonb,
  commit           text
);

create table containers (
  node          text        not null,
  id            text        not null,
  name          text        not null,
  image         text        not null,
  image_id      text        not null,
  state         text        not null,
  health        text        not null,
  exit_code     bigint     not null,
  restart_count bigint     not null,
  created_at    text        not null,
  started_at    text,
  finished_at   text,
  seen_index    bigint      not null,
  primary key (node, id)
);
create index containers_by_name on containers (name, node, id);

create table drifts (
  opened_index   bigint      primary key,
  node           text        not null,
  id             text        not null,
  kind           text        not null,
  container      text        not null,
  container_id   text,
  differences    jsonb       not null,
  commit         text,
  opened_at      timestamptz not null,
  changed_index  bigint      not null,
  resolved_at    timestamptz,
  resolved_index bigint
);
create index drifts_of_node on drifts (node, opened_index);
create unique index drifts_standing on drifts (node, id) where resolved_index is null;

create table findings (
  opened_index  bigint      primary key,
  node          text        not null,
  -- Store and finding id, joined by a slash.
  id            text        not null,
  store         text        not null,
  "check"       text        not null,
  finding       jsonb       not null,
  opened_at     timestamptz not null,
  cleared_at    timestamptz,
  cleared_index bigint
);
create index findings_of_node on findings (node, opened_index);
create unique index findings_standing on findings (node, id) where cleared_index is null;

create table coverage (
  node   text        not null,
  minute timestamptz not null,
  status text        not null,
  index  bigint      not null,
  primary key (node, minute)
);

create table coverage_gaps (
  index   bigint      primary key,
  node    text        not null,
  from_at timestamptz not null,
  to_at   timestamptz not null,
  reason  text        not null,
  rebuilt jsonb       not null
);
create index coverage_gaps_of_node on coverage_gaps (node, index);
