-- Alerts as they stand, and who has been told of them. Not part of the ledger: the entries are what proves an alert, and these rows are
-- what became of telling people.

-- Entries with a lower index have been read for alerts. Whoever holds this row decides what is told: one collector at a time.
create table alert_cursor (
  only_row   boolean primary key default true check (only_row),
  next_index bigint  not null check (next_index >= 0)
);
insert into alert_cursor (next_index) values (0);

-- One row for each key that was ever raised, as of its last occurrence.
create table alerts (
  -- SHA-256 of the key, in hex: a key may be longer than a btree takes.
  id             text        collate "C" primary key check (length(id) = 64),
  key            text        not null,
  severity       text        not null,
  -- The worst that it was since it was raised: who was told of that is told of the end.
  worst          text        not null,
  summary        text        not null,
  node           text,
  raised_index   bigint      not null,
  raised_at      timestamptz not null,
  resolved_index bigint,
  resolved_at    timestamptz,
  reason         text
);
create index alerts_standing on alerts (raised_index) where resolved_index is null;

-- Channels that some collector has in its settings.
create table alert_channels (
  name            text        collate "C" primary key,
  level           text        not null,
  seen_at         timestamptz not null,
  -- The circuit breaker: failures since the last success, and until when nothing is tried.
  failures        integer     not null default 0,
  open_until      timestamptz,
  last_success_at timestamptz,
  last_failure_at timestamptz,
  last_error      text
);

create table alert_notifications (
  id            bigint      generated always as identity primary key,
  channel       text        collate "C" not null,
  -- Of the alert.
  alert         text        collate "C" not null,
  change        text        not null,
  -- What is told, as it was then.
  item          jsonb       not null,
  state         text        not null default 'waiting' check (state in ('waiting', 'delivered', 'dead')),
  created_at    timestamptz not null,
  due_at        timestamptz not null,
  attempts      integer     not null default 0,
  -- Refused together with others: tried by itself, so that one does not take the others along.
  alone         boolean     not null default false,
  -- Until then it belongs to whoever is sending it; after that he is taken for dead.
  claimed_until timestamptz,
  settled_at    timestamptz,
  last_error    text
);
create index alert_notifications_waiting on alert_notifications (channel, alert, id) where state = 'waiting';
create index alert_notifications_of_alert on alert_notifications (alert, channel, id);
create index alert_notifications_settled on alert_notifications (state, settled_at);
