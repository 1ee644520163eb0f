-- Bodies go by whole partitions, so a partition of a million entries would keep those of a small fleet for half a year longer
-- than anybody asked for. From here on they are as wide as a sixteenth of what came before them, 65,536 to 1,048,576
-- entries: few of them in a large ledger, and in every ledger what has to wait for its neighbours is a small part of all.

create view body_partitions (name, from_index, to_index, bytes) as
select c.relname,
       (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''?(\d+)''?\) TO'))[1]::bigint,
       (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''?(\d+)''?\)'))[1]::bigint,
       pg_total_relation_size(c.oid)
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
 where i.inhparent = 'entry_bodies'::regclass and pg_get_expr(c.relpartbound, c.oid) ~ '^FOR VALUES FROM';

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
    name := format('entry_bodies_%s', lpad((start / least)::text, 6, '0'));
    execute format('create table %I (like entry_bodies including all)', name);
    execute format('create trigger append_only_all before truncate on %I for each statement execute function refuse_change()', name);
    execute format('alter table entry_bodies attach partition %I for values from (%s) to (%s)', name, start, (start / width + 1) * width);
  end loop;
end $$;

-- The first partition of a new ledger is still empty here and becomes one of the new width.
do $$ begin
  if not exists (select from entry_bodies) then
    drop table entry_bodies_000000;
    perform ensure_body_partition(0);
  end if;
end $$;
