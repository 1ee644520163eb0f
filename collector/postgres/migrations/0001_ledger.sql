-- The ledger: what every proof rests on. Nothing here is ever updated or deleted but the one tree-head row,
-- and that only moves forward by compare-and-swap.

create table ledger_head (
  only_row   boolean primary key default true check (only_row),
  origin     text    not null,
  size       bigint  not null check (size >= 0),
  root       bytea   not null check (length(root) = 32),
  -- Compact range of the tree (RFC 6962): the roots of its complete subtrees, largest first, 32 bytes each.
  edge       bytea   not null
);

create table entries (
  index       bigint      primary key check (index >= 0),
  author      text        not null,
  seq         bigint      not null check (seq > 0),
  kind        text        not null,
  at          timestamptz not null,
  received_at timestamptz not null,
  -- SHA-256 of the canonical bytes: what the author's next entry names as its predecessor.
  entry_hash  bytea       not null check (length(entry_hash) = 32),
  leaf_hash   bytea       not null check (length(leaf_hash) = 32),
  unique (author, seq)
);
create index entries_by_kind on entries (kind, index);

-- Bodies stand apart so that old ones can be dropped by partition while hashes and proofs stay valid.
create table entry_bodies (
  index     bigint not null,
  bytes     bytea  not null,
  signature bytea  not null check (length(signature) = 64),
  primary key (index)
) partition by range (index);

-- Complete tiles only (C2SP tlog-tiles, height 8): 256 hashes of 32 bytes. Partial ones follow from the level below.
create table tiles (
  level  smallint not null check (level between 0 and 63),
  n      bigint   not null check (n >= 0),
  hashes bytea    not null check (length(hashes) = 8192),
  primary key (level, n)
);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'the ledger is append-only: % on % is refused', tg_op, tg_table_name using errcode = 'insufficient_privilege';
end $$;

create trigger append_only before update or delete on entries for each row execute function refuse_change();
create trigger append_only_all before truncate on entries for each statement execute function refuse_change();
create trigger append_only before update or delete on entry_bodies for each row execute function refuse_change();
create trigger append_only_all before truncate on entry_bodies for each statement execute function refuse_change();
create trigger append_only before update or delete on tiles for each row execute function refuse_change();
create trigger append_only_all before truncate on tiles for each statement execute function refuse_change();

create function refuse_rewind() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and new.size > old.size and new.origin = old.origin then
    return new;
  end if;
  raise exception 'the tree head only moves forward' using errcode = 'insufficient_privilege';
end $$;
create trigger forward_only before update or delete on ledger_head for each row execute function refuse_rewind();
create trigger forward_only_all before truncate on ledger_head for each statement execute function refuse_change();

-- Makes the partition that holds `at_index`, a million entries wide, with its own refusal of TRUNCATE.
create function ensure_body_partition(at_index bigint) returns void language plpgsql as $$
declare
  n    bigint := at_index / 1000000;
  name text   := format('entry_bodies_%s', lpad(n::text, 6, '0'));
begin
  if to_regclass(name) is not null then
    return;
  end if;
  execute format('create table %I partition of entry_bodies for values from (%s) to (%s)', name, n * 1000000, (n + 1) * 1000000);
  execute format('create trigger append_only_all before truncate on %I for each statement execute function refuse_change()', name);
end $$;
select ensure_body_partition(0);
