-- Who may spend: organizations, their tokens, and the small tables every part of the server leans on.

create table organizations (
  org_id text collate "C" primary key check (org_id ~ '^org_([0-5][0-9]|6[0-3])[0-9A-Za-z]{14}$'),
  name text not null check (length(name) between 1 and 200),
  kind text not null default 'team' check (kind in ('personal', 'team')),
  status text not null default 'active' check (status in ('active', 'suspended')),
  overdraft bigint not null default 0 check (overdraft between 0 and 999999999999999),
  monthly_limit bigint check (monthly_limit between 0 and 999999999999999),
  limit_action text not null default 'block_all' check (limit_action in ('block_all', 'pause_noncritical')),
  critical_ceiling bigint check (critical_ceiling between 0 and 999999999999999),
  price_group text not null default 'default',
  prices jsonb check (prices is null or jsonb_typeof(prices) = 'object'),
  time_zone text not null default 'UTC',
  -- Raised by a trigger whenever a term changes; the hot store takes only a higher one.
  terms_version bigint not null default 1,
  -- What the hot store was last told; the worker repairs rows where it lags behind.
  projected_version bigint not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index organizations_unprojected on organizations (org_id) where projected_version < terms_version;

create table tokens (
  token_id text collate "C" primary key check (token_id ~ '^tok_([0-5][0-9]|6[0-3])[0-9A-Za-z]{12}$'),
  org_id text collate "C" not null references organizations,
  name text not null check (length(name) between 1 and 200),
  project text,
  agent text,
  created_by text,
  last_four text not null default '' check (length(last_four) <= 4),
  digest text not null check (digest ~ '^[0-9a-f]{64}$'),
  grace_digest text check (grace_digest ~ '^[0-9a-f]{64}$'),
  grace_ends_at timestamptz,
  status text not null default 'active' check (status in ('active', 'paused', 'revoked')),
  expires_at timestamptz,
  quota_total bigint check (quota_total between 0 and 999999999999999),
  quota_daily bigint check (quota_daily between 0 and 999999999999999),
  quota_weekly bigint check (quota_weekly between 0 and 999999999999999),
  quota_monthly bigint check (quota_monthly between 0 and 999999999999999),
  requests_per_minute integer not null default 0 check (requests_per_minute >= 0),
  tokens_per_minute integer not null default 0 check (tokens_per_minute >= 0),
  concurrency integer not null default 0 check (concurrency >= 0),
  critical boolean not null default false,
  models text[],
  ips text[],
  terms_version bigint not null default 1,
  projected_version bigint not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check ((grace_digest is null) = (grace_ends_at is null)),
  check (substr(token_id, 5, 2) = substr(org_id, 5, 2))
);
create index tokens_of_org on tokens (org_id, created_at desc);
create index tokens_unprojected on tokens (token_id) where projected_version < terms_version;

-- What each token has used, counted for unlimited tokens too: a quota set later starts from the truth.
-- `day` is the organization's local day the windows were last moved to; a window that has ended counts as 0.
create table token_use (
  token_id text collate "C" primary key references tokens,
  total bigint not null default 0,
  day date not null default '0001-01-01',
  daily bigint not null default 0,
  daily_ends_at timestamptz not null default 'epoch',
  weekly bigint not null default 0,
  weekly_ends_at timestamptz not null default 'epoch',
  monthly bigint not null default 0,
  monthly_ends_at timestamptz not null default 'epoch',
  last_used_at timestamptz
) with (fillfactor = 60);

-- Versions are raised here, so that nobody can change a term and forget to.
create function raise_terms_version() returns trigger language plpgsql as $$
declare
  quiet text[] := array['name', 'project', 'created_by', 'terms_version', 'projected_version', 'updated_at'];
begin
  if (to_jsonb(new) - quiet) is distinct from (to_jsonb(old) - quiet) then
    new.terms_version := old.terms_version + 1;
    new.updated_at := now();
  else
    new.terms_version := old.terms_version;
  end if;
  return new;
end $$;
create trigger organizations_terms before update on organizations for each row execute function raise_terms_version();
create trigger tokens_terms before update on tokens for each row execute function raise_terms_version();

create function check_time_zone() returns trigger language plpgsql as $$
begin
  perform now() at time zone new.time_zone; -- raises for a name Postgres does not know
  return new;
end $$;
create trigger organizations_time_zone before insert or update of time_zone on organizations
  for each row execute function check_time_zone();

create function open_token_use() returns trigger language plpgsql as $$
begin
  insert into token_use (token_id) values (new.token_id);
  return null;
end $$;
create trigger tokens_use after insert on tokens for each row execute function open_token_use();

create table price_versions (
  hash text primary key,
  canonical text not null,
  activated_at timestamptz not null default now()
);

-- Single runners hold a row, never a session lock: pooled connections lose those, and PGlite has one session for all.
create table leases (
  name text primary key,
  owner text not null,
  until timestamptz not null,
  fence bigint not null default 1
);

create table idempotency_keys (
  scope text not null,
  key text not null check (length(key) between 1 and 255),
  request_hash text not null,
  status integer,
  response jsonb,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '24 hours',
  primary key (scope, key)
);
create index idempotency_keys_expiry on idempotency_keys (expires_at);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only: % is not allowed; book a correction instead', tg_table_name, tg_op
    using errcode = 'integrity_constraint_violation';
end $$;

-- Each row's hash covers the one before it, so that a removed or edited line breaks the chain from there on.
create table audit_log (
  id bigint primary key,
  at timestamptz not null default now(),
  org_id text,
  actor text not null,
  action text not null,
  subject text,
  details jsonb not null default '{}',
  previous_hash text not null,
  hash text not null
);
create index audit_log_of_org on audit_log (org_id, id desc);

create function audit_hash(r audit_log) returns text language sql stable as $$
  select encode(sha256(convert_to(concat_ws(E'\x1f', r.previous_hash, r.id, extract(epoch from r.at), coalesce(r.org_id, ''),
    r.actor, r.action, coalesce(r.subject, ''), r.details::text), 'UTF8')), 'hex')
$$;

create function chain_audit_row() returns trigger language plpgsql as $$
declare
  last record;
begin
  perform pg_advisory_xact_lock(7220611); -- one writer at a time, until its statement ends
  select id, hash into last from audit_log order by id desc limit 1;
  new.id := coalesce(last.id, 0) + 1;
  new.previous_hash := coalesce(last.hash, repeat('0', 64));
  new.hash := audit_hash(new);
  return new;
end $$;
create trigger audit_log_chain before insert on audit_log for each row execute function chain_audit_row();
create trigger audit_log_rows before update or delete on audit_log for each row execute function refuse_change();
create trigger audit_log_table before truncate on audit_log for each statement execute function refuse_change();
