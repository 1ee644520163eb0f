-- Erasure: bodies of old entries are dropped by partition. What stood at the boundary is kept, since it cannot be derived
-- any more: replay goes on from there. A signed entry (`ledger.erased`) vouches for the rows of a base by their SHA-256.

create table projection_bases (
  -- The projections as of the first `boundary` entries, without what was over by then.
  boundary bigint not null check (boundary > 0),
  -- Place in the order the digest is made in.
  n        bigint not null check (n >= 0),
  -- Name of the projection, and its row as JSON exactly as it was hashed.
  relation text   not null,
  content  text   not null,
  primary key (boundary, n)
);
