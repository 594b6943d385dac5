-- Operator keys besides the one in the data folder: for programs of the house that runs this server, each with a role.

create table operator_keys (
  operator_key_id text collate "C" primary key check (operator_key_id ~ '^opk_[0-9A-Za-z]{14}$'),
  name text not null check (length(name) between 1 and 200),
  role text not null check (role in ('operator.admin', 'operator.support', 'operator.finance')),
  last_four text not null check (length(last_four) = 4),
  digest text not null check (digest ~ '^[0-9a-f]{64}$'),
  grace_digest text check (grace_digest ~ '^[0-9a-f]{64}$'),
  grace_ends_at timestamptz,
  -- Null = from anywhere.
  ips text[] check (cardinality(ips) > 0),
  expires_at timestamptz,
  revoked_at timestamptz,
  created_by text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  -- Written at most once a minute.
  last_used_at timestamptz,
  check ((grace_digest is null) = (grace_ends_at is null))
);
create index operator_keys_newest on operator_keys (created_at desc, operator_key_id desc);

create trigger operator_keys_access after update of role, ips, expires_at, revoked_at, digest, grace_digest on operator_keys
  for each statement execute function note_access_change();
