-- Orders, what was said of them, and what holds enforcement up. Rows are only ever added: where an order stands follows from
-- what was said of it, so it cannot depend on how the entries were batched.

create table orders (
  index        bigint      primary key,
  -- The order's. Its author may say it again: the first entry counts, which whoever reads looks for, since with the unique key of a
  -- hash it would depend on the first one whether the second leaves a row, and erasure takes old rows away.
  hash         text        collate "C" not null,
  node         text        not null,
  action       text        not null,
  container    text        not null,
  container_id text,
  -- What it answers; null for an operator's own decision.
  drift_id     text,
  drift_kind   text,
  drift_digest text,
  commit       text        not null,
  origin       text        not null,
  "by"         text        not null,
  reason       text        not null,
  approvals    bigint      not null,
  issued_at    timestamptz not null,
  expires_at   timestamptz not null,
  -- The order itself.
  body         jsonb       not null
);
create index orders_by_hash on orders (hash, index);
create index orders_of_node on orders (node, issued_at);
create index orders_in_force on orders (node, expires_at);

-- Approvals and rejections in the collector's name, results by anybody: a result counts where its node is that of the order,
-- which whoever reads it looks at.
create table order_events (
  index      bigint      primary key,
  order_hash text        collate "C" not null,
  node       text        not null,
  kind       text        not null,
  at         timestamptz not null,
  body       jsonb       not null
);
create index order_events_of_order on order_events (order_hash, node, index);

-- Freezes and releases, silences and their ends, announcements; and who has adopted which commit.
create table measures (
  index bigint      primary key,
  kind  text        not null,
  node  text        not null,
  at    timestamptz not null,
  body  jsonb       not null
);
create index measures_of_kind on measures (kind, node, index);

-- Drifts are counted by the commit they were judged by. A commit's name may be longer than a btree takes.
create index drifts_of_commit on drifts using hash (commit);
