-- What alerts are raised by is looked at every few seconds: what is asked for has to be found however long the ledger is, and
-- however much of it is one node's.

-- Of the last report: free and total bytes of the file system that the agent keeps its data on.
alter table nodes add column disk jsonb;

-- Drifts that stand, by how long they have.
create index drifts_lasting on drifts (node, kind, opened_index) where resolved_index is null;

-- Orders by what they answer.
create index orders_of_drift on orders (node, drift_id, index) where drift_id is not null;

-- What nodes say so rarely that the last of it is far back.
create index entries_by_rare_word on entries (author, kind, index)
 where kind in ('integrity.report', 'outbox.dropped', 'witness.fork', 'witness.released');
