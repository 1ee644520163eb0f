-- Checks of the ledger by the collectors. Not part of the ledger: the entries say what each one came to, and vouch for these documents.

-- How things stand, for all collectors of this database.
create table integrity_state (
  only_row      boolean     primary key default true check (only_row),
  -- When the last check by the schedule began, or the first collector that makes them; by the clock of the database.
  last_begun_at timestamptz not null default clock_timestamp(),
  -- When a check last ended with nothing found.
  last_ok_at    timestamptz,
  -- Whether the alert of what was found is raised.
  alerted       boolean     not null default false
);

-- Archived reports.
create table integrity_reports (
  id          text        collate "C" primary key,
  status      text        not null,
  finished_at timestamptz not null,
  duration_ms bigint      not null,
  -- Entries that were verified, and what was found: a fault, and rows that differ.
  checked     bigint      not null,
  failed      bigint      not null,
  -- One line of JSON; its SHA-256 is in the entry.
  document    text        not null
);
