-- Who may use the API, and with what. Secrets, of which only hashes are kept; so nothing here is derived from the ledger, which tells
-- who was made, changed, let in and kept out.

-- Never deleted: a name in the ledger means one person for ever.
create table users (
  name                text        collate "C" primary key check (name = lower(name)),
  role                text        not null,
  -- Argon2id, in PHC string form.
  password_hash       text        not null,
  created_at          timestamptz not null,
  password_changed_at timestamptz not null,
  -- By an administrator; nobody signs in as it then.
  locked_at           timestamptz
);

-- One row for everything that comes of one sign-in.
create table sessions (
  id           text        collate "C" primary key,
  user_name    text        collate "C" not null references users (name),
  -- SHA-256 of the half of the refresh token that stays, and of the half that is new with every use.
  family_hash  bytea       not null unique check (length(family_hash) = 32),
  secret_hash  bytea       not null check (length(secret_hash) = 32),
  address      text,
  created_at   timestamptz not null,
  refreshed_at timestamptz not null,
  -- The latest end, whatever is done.
  expires_at   timestamptz not null,
  -- The end unless it is refreshed before.
  idle_at      timestamptz not null,
  ended_at     timestamptz,
  ended_reason text
);

create index sessions_of_user on sessions (user_name, id) where ended_at is null;

create table api_tokens (
  id           text        collate "C" primary key,
  token_hash   bytea       not null unique check (length(token_hash) = 32),
  -- Null for those made on the collector's own machine.
  owner        text        collate "C" references users (name),
  name         text        collate "C" not null,
  permissions  text[]      not null,
  created_at   timestamptz not null,
  expires_at   timestamptz not null,
  last_used_at timestamptz,
  revoked_at   timestamptz
);

create unique index api_tokens_standing on api_tokens (coalesce(owner, ''), name) where revoked_at is null;
create index api_tokens_of_owner on api_tokens (owner, id);

-- While there is no user: what the first administrator is made with.
create table setup_codes (
  code_hash  bytea       primary key check (length(code_hash) = 32),
  created_at timestamptz not null,
  expires_at timestamptz not null
);

-- Attempts at passwords, counted before a password is looked at. Times are those of the database, so that all collectors count alike.
create table sign_in_attempts (
  -- SHA-256 of what is counted: a name or an address. People type passwords where the name belongs.
  subject  bytea       primary key check (length(subject) = 32),
  began_at timestamptz not null,
  -- Attempts that failed or are under way, and those that failed.
  taken    integer     not null,
  failed   integer     not null,
  -- Whether the last one to ask was let through.
  granted  boolean     not null
);

create index sign_in_attempts_began on sign_in_attempts (began_at);
