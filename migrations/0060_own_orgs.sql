-- Organizations that people make for themselves, so many at most, and organizations that were closed for good.

alter table organizations
  -- Who made it besides their personal one; null = the operator, or a sign-up.
  add column made_by text collate "C" check (made_by ~ '^usr_[0-9A-Za-z]{1,60}$'),
  -- Its members are out and its tokens and keys revoked; the books stay.
  add column closed_at timestamptz;
create index organizations_made_by on organizations (made_by) where made_by is not null;

-- Whoever makes several at the same moment waits here, and is counted after the one before. Refused: no row is written.
create function bound_own_orgs() returns trigger language plpgsql as $$
begin
  perform from people where person_id = new.made_by for update;
  if (select count(*) from organizations where made_by = new.made_by
      and (closed_at is null or created_at > now() - interval '1 day')) >= 20 then
    return null;
  end if;
  return new;
end $$;
create trigger organizations_bound before insert on organizations for each row when (new.made_by is not null)
  execute function bound_own_orgs();
