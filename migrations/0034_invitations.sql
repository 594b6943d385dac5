-- Invitations into an organization, and the name somebody wants their own to have.

alter table people add column home_name text check (length(home_name) between 1 and 200);

create table invitations (
  invitation_id text collate "C" primary key check (invitation_id ~ '^inv_[0-9a-f]{32}$'),
  org_id text collate "C" not null references organizations,
  email text collate "C" not null check (email = lower(email) and length(email) between 3 and 254),
  role_id text collate "C" not null,
  -- Of the text in the link; sending it again makes a new one and the old one worthless.
  digest text collate "C" not null unique check (digest ~ '^[0-9a-f]{64}$'),
  invited_by text not null,
  created_at timestamptz not null default now(),
  sent_at timestamptz not null default now(),
  expires_at timestamptz not null,
  accepted_at timestamptz,
  accepted_by text collate "C" references people,
  revoked_at timestamptz,
  check ((accepted_at is null) = (accepted_by is null)),
  check (accepted_at is null or revoked_at is null)
);
create unique index invitations_open on invitations (org_id, email) where accepted_at is null and revoked_at is null;
create index invitations_of_org on invitations (org_id, created_at desc, invitation_id desc);

-- Whoever keeps a connection open for long asks again when a session or an account has ended.
create trigger sessions_access after delete on sessions for each statement execute function note_access_change();
create trigger people_access after update of disabled_at, operator_role on people for each statement execute function note_access_change();
