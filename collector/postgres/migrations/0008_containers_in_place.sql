-- Containers change all the time, and none of the columns that are indexed do: with room left on its page a row is replaced
-- in place, and no index has to hear of it.
alter table containers set (fillfactor = 40);
