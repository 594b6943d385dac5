-- What an organization asks of its members before they see anything of it.

create table org_security (
  org_id text collate "C" primary key references organizations,
  two_factor_required boolean not null default false,
  changed_by text not null,
  changed_at timestamptz not null default now()
);

create trigger org_security_access after insert or update on org_security for each statement execute function note_access_change();
