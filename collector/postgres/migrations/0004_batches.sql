-- When entries were received is said once per group commit and signed by the collector, not once per entry and unsigned.

create table batches (
  -- Tree size and root hash after the batch: its entries are those from the size of the batch before on.
  size        bigint primary key check (size > 0),
  root        bytea  not null check (length(root) = 32),
  -- Unix milliseconds by the collector's clock; what is signed, to the digit.
  received_ms bigint not null,
  signature   bytea  not null check (length(signature) = 64)
);
create index batches_by_time on batches (received_ms, size);
create trigger append_only before update or delete on batches for each row execute function refuse_change();
create trigger append_only_all before truncate on batches for each statement execute function refuse_change();

alter table entries drop column received_at;

-- The kinds that nodes send all the time are found by looking back a little; an index of them would cost every append.
drop index entries_by_kind;
create index entries_by_rare_kind on entries (kind, index) where kind not in ('report', 'observed', 'sigil.scan');
