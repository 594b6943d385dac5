-- People: who signs in, with what, and for how long. Everything a thief could use is kept as a digest or encrypted.

create table people (
  person_id text collate "C" primary key check (person_id ~ '^usr_[0-9a-f]{32}$'),
  email text collate "C" not null unique check (email = lower(email) and length(email) between 3 and 254),
  email_verified boolean not null default false,
  name text not null check (length(name) between 1 and 200),
  image text,
  two_factor boolean not null default false,
  -- Who switched the second factor off when it was not the person; cleared when it is switched on again.
  two_factor_reset_by text,
  operator_role text check (operator_role in ('operator.admin', 'operator.support', 'operator.finance')),
  -- The organization made for this person, and when everything that belongs to it (wallet, trial credits) was there.
  home_org_id text collate "C" references organizations,
  home_ready_at timestamptz,
  preferences jsonb not null default '{}' check (jsonb_typeof(preferences) = 'object'),
  -- Digests of the browsers and networks this person has signed in from lately, newest first.
  known_devices text[] not null default '{}',
  last_sign_in_at timestamptz,
  disabled_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index people_newest on people (created_at desc, person_id desc);
create index people_operators on people (person_id) where operator_role is not null;

-- One row per way to sign in: `credential` with the hash of a password, or a provider with the person's name there.
create table logins (
  login_id text collate "C" primary key,
  person_id text collate "C" not null references people,
  provider_id text not null,
  account_id text not null,
  password text,
  access_token text,
  refresh_token text,
  id_token text,
  access_token_expires_at timestamptz,
  refresh_token_expires_at timestamptz,
  scope text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (provider_id, account_id),
  unique (person_id, provider_id),
  check ((provider_id = 'credential') = (password is not null))
);

create table sessions (
  session_id text collate "C" primary key check (session_id ~ '^ses_[0-9a-f]{32}$'),
  person_id text collate "C" not null references people,
  -- Of the text in the cookie; the text itself is nowhere.
  token_digest text collate "C" not null unique,
  expires_at timestamptz not null,
  -- The last proof of who this is, by password, code or provider.
  authenticated_at timestamptz not null default now(),
  seen_at timestamptz not null default now(),
  ip_address text,
  user_agent text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index sessions_of_person on sessions (person_id, created_at desc);
create index sessions_expiry on sessions (expires_at);

create table two_factors (
  two_factor_id text collate "C" primary key,
  person_id text collate "C" not null unique references people,
  secret text not null,
  backup_codes text not null,
  verified boolean not null default false,
  failures integer not null default 0,
  locked_until timestamptz
);

-- What better-auth has to remember between two requests: a second factor asked for, a visit to a provider.
create table auth_challenges (
  challenge_id text collate "C" primary key,
  identifier text collate "C" not null,
  value text not null,
  expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index auth_challenges_by_identifier on auth_challenges (identifier, created_at desc);
create index auth_challenges_expiry on auth_challenges (expires_at);

-- Links that go out by mail or are printed once. `password` waits here until the address is proven.
create table person_links (
  digest text collate "C" primary key check (digest ~ '^[0-9a-f]{64}$'),
  kind text not null check (kind in ('verify', 'reset', 'setup')),
  person_id text collate "C" references people,
  password text,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  used_at timestamptz,
  check ((kind = 'setup') = (person_id is null))
);
create index person_links_of_person on person_links (person_id) where used_at is null;

-- How often something was tried lately, under digests of what is counted.
create table auth_attempts (
  key text collate "C" primary key,
  tries integer not null,
  until timestamptz not null
);
create index auth_attempts_expiry on auth_attempts (until);

-- A second factor is on exactly when its secret is verified. The library writes the one, then the other; here the first
-- statement carries both, so that a lost connection in between locks nobody out and leaves no secret behind.
create function follow_two_factor() returns trigger language plpgsql as $$
begin
  if new.two_factor then
    update two_factors set verified = true, failures = 0, locked_until = null where person_id = new.person_id;
  else
    delete from two_factors where person_id = new.person_id;
  end if;
  insert into audit_log (actor, action, subject)
  values (coalesce(new.two_factor_reset_by, 'person:' || new.person_id),
    case when new.two_factor then 'person.two_factor_on' else 'person.two_factor_off' end, new.person_id);
  return null;
end $$;
create trigger people_two_factor after update of two_factor on people for each row
  when (old.two_factor is distinct from new.two_factor) execute function follow_two_factor();

create function touch_person() returns trigger language plpgsql as $$
begin
  new.updated_at := now();
  if new.two_factor then
    new.two_factor_reset_by := null;
  end if;
  return new;
end $$;
create trigger people_touch before update on people for each row execute function touch_person();

-- However a person comes about, by our sign-up or through a provider, the audit log has a line.
create function note_person() returns trigger language plpgsql as $$
begin
  insert into audit_log (actor, action, subject, details)
  values ('person:' || new.person_id, 'person.create', new.person_id,
    jsonb_build_object('email', new.email, 'operator_role', new.operator_role));
  return null;
end $$;
create trigger people_made after insert on people for each row execute function note_person();
