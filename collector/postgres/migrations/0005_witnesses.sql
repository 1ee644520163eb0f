-- Checkpoints put to the witnesses, and what they signed. Not part of the ledger and not what any proof rests on: every
-- line here carries a signature of its own, and whoever reads it checks that.

create table checkpoints (
  size       bigint      primary key check (size > 0),
  -- Signed by the log alone.
  note       text        not null,
  -- By the database's clock, which all collectors share: no two rounds begin close together.
  made_at    timestamptz not null default now(),
  -- When enough of the witnesses of that moment had cosigned it.
  quorum_at  timestamptz,
  -- Size of the first witnessed checkpoint from this one on: by consistency it vouches for this one too.
  vouched_by bigint
);
create index checkpoints_witnessed on checkpoints (size) where quorum_at is not null;
create index checkpoints_unvouched on checkpoints (size) where vouched_by is null;

create table cosignatures (
  size        bigint      not null references checkpoints on delete cascade,
  witness     text        not null,
  key_id      bigint      not null,
  -- timestamped_signature of C2SP tlog-cosignature.
  cosignature bytea       not null check (length(cosignature) = 72),
  received_at timestamptz not null default now(),
  primary key (size, witness, key_id)
);
create index cosignatures_of_witness on cosignatures (witness, key_id, size desc);

-- Spans that went without a quorum for too long, until the ledger says so.
create table witness_gaps (
  to_size        bigint      primary key,
  from_size      bigint      not null,
  since_ms       bigint      not null,
  until_ms       bigint      not null,
  claimed_at     timestamptz,
  recorded_index bigint
);

-- What the last good manifest wants of the witnesses; a bad one changes nothing, also across restarts.
create table witnesses_wanted (
  only_row boolean     primary key default true check (only_row),
  commit   text        not null,
  wanted   jsonb       not null,
  read_at  timestamptz not null default now()
);
