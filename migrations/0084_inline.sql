-- Two small functions become part of the queries that use them. The epoch of a moment is stable to Postgres, not immutable, and what
-- claims more than it is made of is called row by row: 46 µs for each token, when a lost hot store is filled again.

alter function ends_ms(timestamptz) stable;
alter function token_use_json(token_use) stable;
