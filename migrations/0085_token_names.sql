-- After a loss of the hot store the names of everybody are read first: from here alone, without a look at any token.
create index tokens_named on tokens (org_id, token_id);
