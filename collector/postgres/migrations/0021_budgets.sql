-- What was asked of the budgets of destructive actions: rows beside the ledger, which has every step on record. All times are
-- those of the database.
create table budget_requests (
  seq          bigint      generated always as identity primary key,
  id           text        collate "C" not null unique,
  budget       text        collate "C" not null,
  amount       integer     not null check (amount > 0),
  reason       text        not null,
  actor        text        collate "C" not null,
  -- asked: taken, but not on record yet, so nobody's to use.
  state        text        collate "C" not null check (state in ('asked', 'reserved', 'committed', 'released', 'expired')),
  requested_at timestamptz not null,
  -- Until then it is reserved unless it is committed or released.
  expires_at   timestamptz not null,
  ended_at     timestamptz
);
-- What is taken of a budget now.
create index budget_requests_open on budget_requests (budget, expires_at) where state in ('asked', 'reserved');
create index budget_requests_used on budget_requests (budget, ended_at) where state = 'committed';
create index budget_requests_by_budget on budget_requests (budget, seq);
create index budget_requests_by_state on budget_requests (state, seq);
create index budget_requests_by_budget_and_state on budget_requests (budget, state, seq);
create index budget_requests_by_age on budget_requests (requested_at);
