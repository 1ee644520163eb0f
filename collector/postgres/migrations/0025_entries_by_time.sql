-- Entries of a time, in the order in which their authors say that it was.
create index entries_by_time on entries (at, index);
