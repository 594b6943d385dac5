-- Which transactions a payment, a code or a request brought about. Charges, by far the most, name nothing and cost nothing here.
create index ledger_txs_of_reference on ledger_txs (ref_id) where ref_id is not null;
