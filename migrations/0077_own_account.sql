-- People change their address, and leave for good.

-- `email`: the address a link of the kind `email` is to make one's own; it was sent there.
alter table person_links add column email text check (email = lower(email) and length(email) between 3 and 254);
alter table person_links drop constraint person_links_kind_check;
alter table person_links add constraint person_links_kind_check check (kind in ('verify', 'reset', 'setup', 'email') and (kind = 'email') = (email is not null));

-- Of somebody who left only the id stays, and a keyed digest of the address, so that nobody gets trial credits twice by leaving.
alter table people add column left_at timestamptz;
alter table people add column left_digest text check (left_digest ~ '^[0-9a-f]{64}$');
alter table people add constraint people_left check ((left_at is null) = (left_digest is null) and (left_at is null or disabled_at is not null));
create index people_left_by on people (left_digest) where left_digest is not null;

-- The audit log cannot be changed, so it names people by their id alone.
create or replace function note_person() returns trigger language plpgsql as $$
begin
  insert into audit_log (actor, action, subject, details)
  values ('person:' || new.person_id, 'person.create', new.person_id, jsonb_build_object('operator_role', new.operator_role));
  return null;
end $$;
