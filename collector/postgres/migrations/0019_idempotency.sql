-- Answers of writes, kept under the keys that their callers chose: rows beside the ledger, forgotten after a day.
create table idempotency_keys (
  caller      text        collate "C" not null,
  operation   text        collate "C" not null,
  key         text        collate "C" not null,
  -- SHA-256 of path, query and canonical body.
  request     bytea       not null,
  -- Whose turn it is: another one for everybody who takes the key over.
  claim       uuid        not null default gen_random_uuid(),
  -- Until then whoever has the claim is believed to be at it; null once it is done.
  lease_until timestamptz,
  status      integer,
  -- Null, where it was too large to be kept.
  answer      text,
  created_at  timestamptz not null default now(),
  primary key (caller, operation, key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);
