-- Which budgets are in force: those of the collector that started last. Whoever was given others gives nothing away.
create table budgets_in_force (
  is_only boolean     primary key default true check (is_only),
  digest  text        collate "C" not null,
  since   timestamptz not null
);
