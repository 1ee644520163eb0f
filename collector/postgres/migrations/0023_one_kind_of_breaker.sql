-- One kind of circuit breaker, for services that jobs need and for channels of alerts alike. Where it stands is columns, moved in one
-- transaction by the clock of the database, in place of what a process wrote of the breaker in its memory.

alter table breakers
  add column failures_in_a_row integer not null default 0,
  -- Both, or none: it is closed.
  add column opened_at timestamptz,
  add column open_until timestamptz,
  add constraint breakers_open check ((opened_at is null) = (open_until is null)),
  alter column successes set default 0,
  alter column failures set default 0,
  alter column refused set default 0,
  alter column changed_at set default clock_timestamp();

-- What was open is tried next.
update breakers
   set failures_in_a_row = coalesce((snapshot ->> 'breakerState')::integer, 0),
       opened_at = case when snapshot #>> '{ownState,value}' = '1' then changed_at end,
       open_until = case when snapshot #>> '{ownState,value}' = '1' then changed_at end;

alter table breakers drop column snapshot, drop column writer;

insert into breakers (service, failures_in_a_row, opened_at, open_until, successes, failures, refused, last_failure, changed_at)
select 'channel:' || name, failures, case when open_until is not null then clock_timestamp() end,
       case when open_until is not null then clock_timestamp() end, 0, failures, 0, last_error, clock_timestamp()
  from alert_channels
 where failures > 0;
alter table alert_channels drop column failures, drop column open_until;
