-- Which requests a transaction paid for. Rows are written in the order of their transactions, so a few numbers per range of
-- pages find them; a tree would cost every charge an entry more.
create index usage_records_of_tx on usage_records using brin (tx_id) with (pages_per_range = 16, autosummarize = on);
create index usage_corrections_of_tx on usage_corrections (tx_id) where tx_id is not null;
