-- Management keys: what a program of an organization may do on /api, as far as its scopes go.

create table management_keys (
  key_id text collate "C" primary key check (key_id ~ '^key_[0-9A-Za-z]{14}$'),
  org_id text collate "C" not null references organizations,
  name text not null check (length(name) between 1 and 200),
  last_four text not null check (length(last_four) = 4),
  digest text not null check (digest ~ '^[0-9a-f]{64}$'),
  grace_digest text check (grace_digest ~ '^[0-9a-f]{64}$'),
  grace_ends_at timestamptz,
  scopes text[] not null check (cardinality(scopes) > 0 and scopes <@ '{usage:read,logs:read,tokens:read,tokens:write,balance:read,topups:write,payments:read,limits:read,limits:write,plan:read,plan:write,members:read,members:write,webhooks:write,meter:write}'::text[]),
  expires_at timestamptz,
  revoked_at timestamptz,
  created_by text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  -- Written at most once a minute.
  last_used_at timestamptz,
  check ((grace_digest is null) = (grace_ends_at is null))
);
create index management_keys_of_org on management_keys (org_id, created_at desc, key_id desc);

create trigger management_keys_access after update of scopes, expires_at, revoked_at, grace_digest on management_keys
  for each statement execute function note_access_change();
