-- What keeps people from being told of an alert, and what each channel was told. Rows beside the ledger, like those of 0011.

-- Silences that were on record when the cursor passed them, until they are over.
create table alert_silences (
  id         text        collate "C" primary key,
  -- A key, or the beginning of keys with a `*` at its end.
  pattern    text        not null,
  until      timestamptz not null,
  actor      text        not null,
  reason     text        not null,
  made_index bigint      not null,
  made_at    timestamptz not null
);

-- Which channel was told that an alert stands, and as how bad: written with the row that tells it, and gone with the alert's end.
create table alert_told (
  alert    text collate "C" not null,
  channel  text collate "C" not null,
  severity text not null,
  primary key (alert, channel)
);
create index alert_told_to on alert_told (channel);

alter table alerts
  -- When it was first read here, by the clock of the database: escalation counts from then.
  add column heard_at            timestamptz not null default now(),
  add column acknowledged_index  bigint,
  add column acknowledged_at     timestamptz,
  add column acknowledged_by     text,
  add column acknowledged_reason text;
update alerts set heard_at = raised_at;

alter table alert_channels
  -- Told only of what still stands so long after it was raised; null for at once.
  add column escalate_after_ms bigint;

alter table alert_notifications
  -- Somebody took it to send it, so it may have arrived whatever became of it: it is not taken back any more.
  add column tried boolean not null default false;
update alert_notifications set tried = true where attempts > 0 or claimed_until is not null;

insert into alert_told (alert, channel, severity)
select distinct on (n.alert, n.channel) n.alert, n.channel, n.item ->> 'severity'
  from alert_notifications n join alerts a on a.id = n.alert
 where a.resolved_index is null and n.change <> 'resolved' and (n.item ->> 'index')::bigint >= a.raised_index
 order by n.alert, n.channel, n.id desc;
