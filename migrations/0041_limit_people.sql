-- Who is told when a limit comes near, and who set it.

alter table organizations
  -- Roles and members of the organization, by id.
  add column limit_notify text[] not null default '{owner}' check (cardinality(limit_notify) <= 20),
  -- Kept for the next line of the history only.
  add column limits_changed_by text;
alter table limit_versions
  add column notify text[] not null default '{owner}',
  add column changed_by text;

create or replace function keep_limit_version() returns trigger language plpgsql as $$
declare
  at timestamptz := clock_timestamp();
begin
  update limit_versions set to_at = at where org_id = new.org_id and to_at is null;
  insert into limit_versions (org_id, from_at, alert_threshold, allowed_limit, action, critical_ceiling, approach_ratio, notify, changed_by)
  values (new.org_id, at, new.alert_threshold, new.monthly_limit, new.limit_action, new.critical_ceiling, new.approach_ratio,
    new.limit_notify, new.limits_changed_by);
  return null;
end $$;
drop trigger organizations_limit on organizations;
create trigger organizations_limit after update on organizations for each row
  when ((old.alert_threshold, old.monthly_limit, old.limit_action, old.critical_ceiling, old.approach_ratio, old.limit_notify)
    is distinct from (new.alert_threshold, new.monthly_limit, new.limit_action, new.critical_ceiling, new.approach_ratio, new.limit_notify))
  execute function keep_limit_version();

-- Neither says anything about what an organization may do.
create or replace function raise_terms_version() returns trigger language plpgsql as $$
declare
  quiet text[] := array['name', 'project', 'created_by', 'owner_id', 'limit_notify', 'limits_changed_by', 'terms_version',
    'projected_version', 'updated_at'];
begin
  if (to_jsonb(new) - quiet) is distinct from (to_jsonb(old) - quiet) then
    new.terms_version := old.terms_version + 1;
    new.updated_at := now();
  else
    new.terms_version := old.terms_version;
  end if;
  return new;
end $$;
