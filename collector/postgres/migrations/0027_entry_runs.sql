-- contracts: entries are laid into rows in another way, which a collector from before does not know
-- A row for each entry, its index by author and number and its body cost the server more than all else of an append. So
-- consecutive entries of one author and one kind stand in one row, a run; those of a kind that is looked for stand alone.

alter table entries rename to entries_before;
alter table entry_bodies rename to bodies_before;
alter index entries_by_rare_kind rename to entries_before_by_rare_kind;
alter index entries_by_rare_word rename to entries_before_by_rare_word;
alter index entries_by_time rename to entries_before_by_time;

create table entry_runs (
  -- Of the first entry; the others follow without a gap, as their numbers do.
  index        bigint        primary key check (index >= 0),
  width        smallint      not null check (width between 1 and 32),
  author       text          not null,
  seq          bigint        not null check (seq > 0),
  kind         text          not null,
  -- In order, and within an hour, so that what was said at a time is found by where runs begin and end.
  times        timestamptz[] not null,
  -- SHA-256 of the canonical bytes: what the author's next entry names as its predecessor. 32 bytes each.
  entry_hashes bytea         not null,
  leaf_hashes  bytea         not null,
  unique (author, seq),
  check (cardinality(times) = width and array_lower(times, 1) = 1 and array_position(times, null) is null and octet_length(entry_hashes) = 32 * width
         and octet_length(leaf_hashes) = 32 * width),
  check (width = 1 or kind in ('report', 'observed', 'sigil.scan')),
  check (times[width] >= times[1] and times[width] <= times[1] + interval '1 hour'),
  -- No run lies in two partitions of bodies.
  check (index / 65536 = (index + width - 1) / 65536)
) with (toast_tuple_target = 4080);
alter table entry_runs alter column entry_hashes set storage external, alter column leaf_hashes set storage external;

-- The leaves of a run one behind the other, each as it is hashed: a zero byte, canonical bytes, 64 bytes of signature (RFC 6962).
create table run_bodies (
  index  bigint not null,
  -- Of each leaf, the offset where it ends.
  ends   int[]  not null,
  leaves bytea  not null,
  primary key (index),
  check (ends[1] > 65 and array_position(ends, null) is null and ends[cardinality(ends)] = octet_length(leaves))
) partition by range (index);
alter table run_bodies alter column leaves set storage external;

-- What was there becomes runs of one entry.
insert into entry_runs (index, width, author, seq, kind, times, entry_hashes, leaf_hashes)
select index, 1, author, seq, kind, array[at], entry_hash, leaf_hash from entries_before order by index;

create index entries_by_rare_kind on entry_runs (kind, index) where kind not in ('report', 'observed', 'sigil.scan');
-- What nodes say so rarely that the last of it is far back.
create index entries_by_rare_word on entry_runs (author, kind, index)
 where kind in ('integrity.report', 'outbox.dropped', 'outbox.recovered', 'witness.fork', 'witness.released');
-- Entries of a time, in the order in which their authors say that it was: those that stand alone, as most do, and the others by when
-- their run ends.
create index entries_by_time on entry_runs ((times[1]), index) where width = 1;
create index runs_by_time on entry_runs ((times[width]), index, (times[1])) where width > 1;
-- How many there are of a time: what is known of an index on a part of the rows is not asked for that.
create statistics first_times on (times[1]) from entry_runs;
create statistics last_times on (times[width]) from entry_runs;

create or replace view body_partitions (name, from_index, to_index, bytes) as
select c.relname,
       (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''?(\d+)''?\) TO'))[1]::bigint,
       (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''?(\d+)''?\)'))[1]::bigint,
       pg_total_relation_size(c.oid)
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
 where i.inhparent = 'run_bodies'::regclass and pg_get_expr(c.relpartbound, c.oid) ~ '^FOR VALUES FROM';

-- Rows of bodies fill a page, and are kept there whole.
create function new_body_partition(name text) returns void language plpgsql as $$
begin
  execute format('create table %I (like run_bodies including all) with (toast_tuple_target = 8160)', name);
  execute format('create trigger append_only_all before truncate on %I for each statement execute function refuse_change()', name);
end $$;
revoke execute on function new_body_partition(text) from public;

-- The first partitions of ledgers from before 0007 end at millions. Those that are yet to be reached end at multiples of 65,536 from here
-- on, as all others do: there no run goes on, while bodies are dropped by whole partitions.
do $$
declare
  step constant bigint := 65536;
  size constant bigint := coalesce((select h.size from ledger_head h), 0);
  before record;
  name   text;
begin
  for before in
    select relname, case when from_index < size then from_index else (from_index + step - 1) / step * step end as from_index,
           case when to_index < size then to_index else (to_index + step - 1) / step * step end as to_index
      from (select c.relname, (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''?(\d+)''?\) TO'))[1]::bigint as from_index,
                   (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''?(\d+)''?\)'))[1]::bigint as to_index
              from pg_inherits i join pg_class c on c.oid = i.inhrelid
             where i.inhparent = 'bodies_before'::regclass) partitions
     order by from_index
  loop
    -- Made for what was yet to come, and within the one before it now.
    continue when before.from_index = before.to_index;
    name := replace(before.relname, 'entry_bodies', 'run_bodies');
    perform new_body_partition(name);
    execute format(
      'insert into %I (index, ends, leaves)
       select index, array[65 + octet_length(bytes)], ''\x00''::bytea || bytes || signature from %I order by index',
      name, before.relname);
    execute format('alter table run_bodies attach partition %I for values from (%s) to (%s)', name, before.from_index, before.to_index);
  end loop;
end $$;
drop table bodies_before, entries_before;

create trigger append_only before update or delete on entry_runs for each row execute function refuse_change();
create trigger append_only_all before truncate on entry_runs for each statement execute function refuse_change();
create trigger append_only before update or delete on run_bodies for each row execute function refuse_change();
create trigger append_only_all before truncate on run_bodies for each statement execute function refuse_change();

-- A run begins where the one before it ends, by index and by number, and nothing stands behind it that was not added with it; bodies are
-- added after it. So two never overlap: of two that were added at once, both would begin at the same place, which the keys refuse.
create function refuse_gap() returns trigger language plpgsql as $$
declare
  wrong record;
begin
  select index, author, seq, due_index, due_seq into wrong
    from (select index, author, seq,
                 coalesce(lag(index + width) over (order by index),
                          (select r.index + r.width from entry_runs r where r.index < a.index order by r.index desc limit 1),
                          0) as due_index,
                 coalesce(lag(seq + width) over (partition by author order by seq),
                          (select r.seq + r.width from entry_runs r where r.author = a.author and r.seq < a.seq
                            order by r.seq desc limit 1),
                          1) as due_seq
            from added a) placed
   where index <> due_index or seq <> due_seq
   limit 1;
  if found then
    raise exception 'entry % of % at % does not follow: % and % are due', wrong.seq, wrong.author, wrong.index, wrong.due_seq, wrong.due_index
      using errcode = 'integrity_constraint_violation', constraint = 'entry_runs_follow', table = 'entry_runs';
  end if;
  if (select count(*) from entry_runs where index >= (select min(index) from added)) <> (select count(*) from added)
     or (select max(index) from run_bodies) >= (select min(index) from added) then
    raise exception 'rows stand where % new ones belong', (select count(*) from added)
      using errcode = 'integrity_constraint_violation', constraint = 'entry_runs_follow', table = 'entry_runs';
  end if;
  return null;
end $$;
-- What it looks at are these tables, whatever temporary ones somebody has made, and by their indexes: a plan made while they were empty
-- is kept while they grow.
alter function refuse_gap() set enable_seqscan = off;
do $$ begin
  execute format('alter function refuse_gap() set search_path = %I, pg_temp', current_schema());
end $$;
create trigger follow after insert on entry_runs referencing new table as added for each statement execute function refuse_gap();

-- Makes the partitions that are missing up to the one that holds `at_index`, each with its own refusal of TRUNCATE. Made apart
-- and then attached: that waits for nobody who reads, while CREATE TABLE ... PARTITION OF would.
create or replace function ensure_body_partition(at_index bigint) returns void language plpgsql as $$
declare
  least constant bigint := 65536;
  most  constant bigint := 1048576;
  start bigint;
  width bigint;
  name  text;
begin
  -- Whoever may only append calls this with the owner's rights: no more is made for him than the ledger is about to need.
  if session_user <> current_user and at_index > most + coalesce((select size from ledger_head), 0) then
    raise exception 'entry % is too far from the end of the ledger', at_index using errcode = 'program_limit_exceeded';
  end if;
  loop
    select coalesce(max(to_index), 0) into start from body_partitions;
    exit when start > at_index;
    width := least;
    while width < most and width * 16 <= start loop
      width := width * 2;
    end loop;
    name := format('run_bodies_%s', lpad((start / least)::text, 6, '0'));
    perform new_body_partition(name);
    execute format('alter table run_bodies attach partition %I for values from (%s) to (%s)', name, start, (start / width + 1) * width);
  end loop;
end $$;

-- The entries of a run with the place of each: the index and the number of the first one, and which of the run it is, from 1 on.
create function entries_of(entry_runs)
returns table (run bigint, run_seq bigint, place bigint, index bigint, author text, seq bigint, kind text, at timestamptz,
               entry_hash bytea, leaf_hash bytea)
language sql stable as $$
  select $1.index, $1.seq, t.n, $1.index + t.n - 1, $1.author, $1.seq + t.n - 1, $1.kind, t.at,
         substr($1.entry_hashes, 32 * t.n::int - 31, 32), substr($1.leaf_hashes, 32 * t.n::int - 31, 32)
    from unnest($1.times) with ordinality as t (at, n)
$$;

-- The same of their bodies.
create function bodies_of(run_bodies)
returns table (run bigint, place bigint, index bigint, bytes bytea, signature bytea)
language sql stable as $$
  select $1.index, l.n, $1.index + l.n - 1,
         substr($1.leaves, coalesce($1.ends[l.n - 1], 0) + 2, l."end" - coalesce($1.ends[l.n - 1], 0) - 65),
         substr($1.leaves, l."end" - 63, 64)
    from unnest($1.ends) with ordinality as l ("end", n)
$$;

-- Entries one by one, for who asks by author or kind. By index or number: the functions below, which look at no more than they have to.
create view entries (index, author, seq, kind, at, entry_hash, leaf_hash) as
select e.index, e.author, e.seq, e.kind, e.at, e.entry_hash, e.leaf_hash from entry_runs r cross join lateral entries_of(r) e;

create view entry_bodies (index, bytes, signature) as
select l.index, l.bytes, l.signature from run_bodies b cross join lateral bodies_of(b) l;

-- In the order of runs and then of places, a list of the first few looks at no more runs than it has to.
create view entries_in_runs as select e.* from entry_runs r cross join lateral entries_of(r) e;

-- Entries with indexes from `from_index` up to but not including `to_index`.
create function entries_between(from_index bigint, to_index bigint)
returns table (index bigint, author text, seq bigint, kind text, at timestamptz, entry_hash bytea, leaf_hash bytea)
language sql stable as $$
  select e.index, e.author, e.seq, e.kind, e.at, e.entry_hash, e.leaf_hash
    from entry_runs r cross join lateral entries_of(r) e
   where r.index > from_index - 32 and r.index < to_index and e.index >= from_index and e.index < to_index
$$;

-- Entries of an author with numbers from `from_seq` up to but not including `to_seq`.
create function chain_between(of_author text, from_seq bigint, to_seq bigint)
returns table (index bigint, author text, seq bigint, kind text, at timestamptz, entry_hash bytea, leaf_hash bytea)
language sql stable as $$
  select e.index, e.author, e.seq, e.kind, e.at, e.entry_hash, e.leaf_hash
    from entry_runs r cross join lateral entries_of(r) e
   where r.author = of_author and r.seq > from_seq - 32 and r.seq < to_seq and e.seq >= from_seq and e.seq < to_seq
$$;

-- Bodies that are kept, of entries with indexes from `from_index` up to but not including `to_index`.
create function bodies_between(from_index bigint, to_index bigint)
returns table (index bigint, bytes bytea, signature bytea)
language sql stable as $$
  select l.index, l.bytes, l.signature
    from run_bodies b cross join lateral bodies_of(b) l
   where b.index > from_index - 32 and b.index < to_index and l.index >= from_index and l.index < to_index
$$;

-- The first entry of each run, with its body when that is kept: of the kinds that stand alone, all entries. What is asked of index,
-- author or kind here is found by the indexes of `entry_runs`.
create view first_entries (index, author, seq, kind, at, bytes, signature) as
select r.index, r.author, r.seq, r.kind, r.times[1], substr(b.leaves, 2, b.ends[1] - 65), substr(b.leaves, b.ends[1] - 63, 64)
  from entry_runs r left join run_bodies b on b.index = r.index;

-- The body at a place in a run, unless it was dropped.
create function body_in_run(run bigint, place bigint)
returns table (bytes bytea, signature bytea)
language sql stable as $$
  select l.bytes, l.signature from run_bodies b cross join lateral bodies_of(b) l where b.index = $1 and l.place = $2
$$;

-- Entries with indexes from `from_index` up to but not including `to_index`, with the bodies that are kept. To be asked for in the order
-- of `run` and `place`: sorted by index, each would bring the bodies of all its run along.
create function entries_with_bodies(from_index bigint, to_index bigint)
returns table (run bigint, place bigint, index bigint, author text, seq bigint, kind text, at timestamptz, entry_hash bytea,
               leaf_hash bytea, bytes bytea, signature bytea)
language sql stable as $$
  select e.run, e.place, e.index, e.author, e.seq, e.kind, e.at, e.entry_hash, e.leaf_hash,
         substr(b.leaves, coalesce(b.ends[e.place - 1], 0) + 2, b.ends[e.place] - coalesce(b.ends[e.place - 1], 0) - 65),
         substr(b.leaves, b.ends[e.place] - 63, 64)
    from entry_runs r
    left join run_bodies b on b.index = r.index and b.index > from_index - 32 and b.index < to_index
   cross join lateral entries_of(r) e
   where r.index > from_index - 32 and r.index < to_index and e.index >= from_index and e.index < to_index
$$;
