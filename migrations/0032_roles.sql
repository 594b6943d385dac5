-- What a role allows, who belongs to an organization in which role, and whose a token is.

create table roles (
  role_id text collate "C" primary key check (role_id in ('owner', 'admin', 'billing', 'developer', 'viewer') or role_id ~ '^role_[0-9A-Za-z]{14}$'),
  -- Null: a preset, which every organization has and nobody changes.
  org_id text collate "C" references organizations,
  name text not null check (length(name) between 1 and 100),
  permissions text[] not null check (permissions <@ '{usage.read,usage.read_own,logs.read,logs.read_own,tokens.manage,tokens.manage_own,credits.read,credits.purchase,credits.redeem,payments.read,limits.manage,plan.manage,members.manage,webhooks.manage,org.manage,org.delete}'::text[]),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check ((org_id is null) = (role_id !~ '^role_'))
);
create unique index roles_by_name on roles (org_id, lower(name)) where org_id is not null;

insert into roles (role_id, name, permissions) values
  ('owner', 'Owner', '{usage.read,usage.read_own,logs.read,logs.read_own,tokens.manage,tokens.manage_own,credits.read,credits.purchase,credits.redeem,payments.read,limits.manage,plan.manage,members.manage,webhooks.manage,org.manage,org.delete}'),
  ('admin', 'Admin', '{usage.read,usage.read_own,logs.read,logs.read_own,tokens.manage,tokens.manage_own,credits.read,credits.purchase,credits.redeem,payments.read,limits.manage,plan.manage,members.manage,webhooks.manage,org.manage}'),
  ('billing', 'Billing', '{usage.read,credits.read,credits.purchase,credits.redeem,payments.read,limits.manage,plan.manage}'),
  ('developer', 'Developer', '{tokens.manage_own,usage.read_own,logs.read_own,credits.read}'),
  ('viewer', 'Viewer', '{usage.read,logs.read,credits.read}');

create function keep_presets() returns trigger language plpgsql as $$
begin
  raise exception 'the preset role % stays as it is', old.role_id using errcode = 'integrity_constraint_violation';
end $$;
create trigger roles_presets before update or delete on roles for each row when (old.org_id is null) execute function keep_presets();

create table org_members (
  org_id text collate "C" not null references organizations,
  person_id text collate "C" not null check (person_id ~ '^usr_[0-9A-Za-z]{1,60}$'),
  role_id text collate "C" not null references roles,
  -- What the tokens of this person may spend in a calendar month of the organization; null = no quota.
  monthly_quota bigint check (monthly_quota between 0 and 999999999999999),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (org_id, person_id)
);
create index org_members_of_person on org_members (person_id, org_id);
create index org_members_of_role on org_members (role_id);

-- The person whose token it is; null = the organization's. Who made it once stays in created_by.
alter table tokens add column owner_id text collate "C" check (owner_id ~ '^usr_[0-9A-Za-z]{1,60}$');
create index tokens_of_owner on tokens (org_id, owner_id) where owner_id is not null;

-- Whose a token is says nothing about what it may do.
create or replace function raise_terms_version() returns trigger language plpgsql as $$
declare
  quiet text[] := array['name', 'project', 'created_by', 'owner_id', 'terms_version', 'projected_version', 'updated_at'];
begin
  if (to_jsonb(new) - quiet) is distinct from (to_jsonb(old) - quiet) then
    new.terms_version := old.terms_version + 1;
    new.updated_at := now();
  else
    new.terms_version := old.terms_version;
  end if;
  return new;
end $$;

-- Raised when somebody may do less than before. Whoever keeps a connection open for long looks here whether to ask again.
create table access_changes (
  one boolean primary key default true check (one),
  version bigint not null default 1
);
insert into access_changes default values;

create function note_access_change() returns trigger language plpgsql as $$
begin
  update access_changes set version = version + 1;
  return null;
end $$;
create trigger org_members_access after update of role_id or delete on org_members for each statement execute function note_access_change();
create trigger roles_access after update of permissions or delete on roles for each statement execute function note_access_change();
