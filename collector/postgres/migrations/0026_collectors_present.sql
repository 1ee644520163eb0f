-- Which collectors run, and whose sockets each of them holds: told anew every few seconds, so that it need not outlive a crash of
-- the server, and no commit of it waits for a disk or a standby.
create unlogged table collectors_present (
  -- Of one process.
  id      uuid        primary key,
  -- What people know it by: host and port.
  name    text        collate "C" not null,
  nodes   text[]      collate "C" not null,
  -- When it was told last, by the clock of the database.
  seen_at timestamptz not null
);
