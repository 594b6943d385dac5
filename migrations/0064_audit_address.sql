-- From where an act was asked for. Lines of the audit log are written by the statements, and functions, of the acts themselves;
-- so the server says the address once, as a comment at the very end of its statement, where no value can put one.
alter table audit_log add column ip text;

-- A line without an address has the hash it always had: `concat_ws` leaves out what is null.
create or replace function audit_hash(r audit_log) returns text language sql stable as $$
  select encode(sha256(convert_to(concat_ws(E'\x1f', r.previous_hash, r.id, extract(epoch from r.at), coalesce(r.org_id, ''),
    r.actor, r.action, coalesce(r.subject, ''), r.details::text, r.ip), 'UTF8')), 'hex')
$$;

create or replace function chain_audit_row() returns trigger language plpgsql as $$
declare
  last record;
begin
  perform pg_advisory_xact_lock(7220611); -- one writer at a time, until its statement ends
  select id, hash into last from audit_log order by id desc limit 1;
  new.id := coalesce(last.id, 0) + 1;
  new.previous_hash := coalesce(last.hash, repeat('0', 64));
  new.ip := substring(current_query() from '/\* asked from ([0-9a-f.:]{2,45}) \*/$');
  new.hash := audit_hash(new);
  return new;
end $$;
