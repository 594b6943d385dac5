-- What became of a charge that was set aside: booked after all, or given up, by whom and why.
alter table poison_rows
  add column resolution text check (resolution in ('booked', 'dropped')),
  add column resolved_by text,
  add column note text check (length(note) <= 500);
create index poison_rows_open on poison_rows (id desc) where resolved_at is null;
