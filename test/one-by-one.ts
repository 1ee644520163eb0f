import type { Queryable } from '../collector/postgres/pool.ts';

/**
 * Lets whoever may change the ledger's tables change the views `entries` and `entry_bodies`, so that tests can say of single entries
 * what is done to them: the run that holds one is taken apart into runs of one entry first, which is as good a ledger.
 * These triggers fire also where others are switched off (`session_replication_role`).
 * @param db as a superuser.
 */
export async function changeOneByOne(db: Queryable): Promise<void> {
  await db.query(`
    create or replace function test_take_apart(at_index bigint) returns void language plpgsql as $$
    declare
      r entry_runs;
      b run_bodies;
    begin
      for r in delete from entry_runs where index <= at_index and index + width > at_index and width > 1 returning * loop
        insert into entry_runs (index, width, author, seq, kind, times, entry_hashes, leaf_hashes)
        select r.index + i, 1, r.author, r.seq + i, r.kind, r.times[i + 1:i + 1],
               substr(r.entry_hashes, 32 * i + 1, 32), substr(r.leaf_hashes, 32 * i + 1, 32)
          from generate_series(0, r.width - 1) i;
      end loop;
      for b in delete from run_bodies
                where index <= at_index and index + cardinality(ends) > at_index and cardinality(ends) > 1 returning * loop
        insert into run_bodies (index, ends, leaves)
        select b.index + i, array[b.ends[i + 1] - coalesce(b.ends[i], 0)],
               substr(b.leaves, coalesce(b.ends[i], 0) + 1, b.ends[i + 1] - coalesce(b.ends[i], 0))
          from generate_series(0, cardinality(b.ends) - 1) i;
      end loop;
    end $$;

    create or replace function test_change_entry() returns trigger language plpgsql as $$
    begin
      if tg_op <> 'INSERT' then
        perform test_take_apart(old.index);
      end if;
      if tg_op = 'INSERT' then
        insert into entry_runs (index, width, author, seq, kind, times, entry_hashes, leaf_hashes)
        values (new.index, 1, new.author, new.seq, new.kind, array[new.at], new.entry_hash, new.leaf_hash);
      elsif tg_op = 'UPDATE' then
        update entry_runs
           set index = new.index, author = new.author, seq = new.seq, kind = new.kind, times = array[new.at],
               entry_hashes = new.entry_hash, leaf_hashes = new.leaf_hash
         where index = old.index;
      else
        delete from entry_runs where index = old.index;
      end if;
      return case tg_op when 'DELETE' then old else new end;
    end $$;

    create or replace function test_change_body() returns trigger language plpgsql as $$
    begin
      if tg_op <> 'INSERT' then
        perform test_take_apart(old.index);
      end if;
      if tg_op = 'INSERT' then
        insert into run_bodies (index, ends, leaves)
        values (new.index, array[octet_length(new.bytes) + 65], '\\x00'::bytea || new.bytes || new.signature);
      elsif tg_op = 'UPDATE' then
        update run_bodies
           set index = new.index, ends = array[octet_length(new.bytes) + 65], leaves = '\\x00'::bytea || new.bytes || new.signature
         where index = old.index;
      else
        delete from run_bodies where index = old.index;
      end if;
      return case tg_op when 'DELETE' then old else new end;
    end $$;

    create or replace trigger test_one_by_one instead of insert or update or delete on entries
      for each row execute function test_change_entry();
    create or replace trigger test_one_by_one instead of insert or update or delete on entry_bodies
      for each row execute function test_change_body();
    update pg_trigger set tgenabled = 'A' where tgname = 'test_one_by_one'`);
}
