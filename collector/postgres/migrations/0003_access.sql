-- Secrets that let somebody in. Only SHA-256 hashes of random tokens are kept.

create table operator_tokens (
  token_hash bytea       primary key check (length(token_hash) = 32),
  created_at timestamptz not null
);

create table join_tokens (
  token_hash  bytea       primary key check (length(token_hash) = 32),
  node        text        not null,
  created_at  timestamptz not null,
  expires_at  timestamptz not null,
  used_at     timestamptz,
  -- The key that used it: the same key may ask again when the answer was lost.
  fingerprint text
);
