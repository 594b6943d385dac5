export interface Finding {
  readonly check: string;
  /** The id of what is wrong. */
  readonly subject: string;
  readonly expected: string;
  readonly found: string;
  readonly sentence: string;
}

/** One way in which the books could be wrong. The statement answers a row per fault, already as a sentence. */
export interface Check {
  readonly name: string;
  /** What is counted when nothing is wrong, for the report. */
  readonly counted: string;
  /** Columns: `subject`, `expected`, `found` and `sentence`, all text. */
  readonly sql: string;
}

/** `format('… %s …')` around both numbers. */
const fault = (subject: string, expected: string, found: string, sentence: string): string =>
  `select (${subject})::text as subject, (${expected})::text as expected, (${found})::text as found, ${sentence} as sentence`;

/** What the rows have by the same names; they are summed where they lie, which several processes of Postgres can share. */
const SUMMED = ['input', 'cached_input', 'output', 'reasoning', 'images', 'seconds', 'characters', 'cost', 'operator_loss'];
const SUMS = ['requests', 'errors', ...SUMMED, 'audio'];

/** What the rows of months that are gone added up to. A month that is only sealed still has its rows. */
const PAST = '(select s.* from usage_past_sums s join usage_past_months m on m.month = s.month and m.gone_at is not null)';

export const CHECKS: readonly Check[] = [
  {
    name: 'transactions_add_up',
    counted: 'select count(*) from ledger_txs',
    sql: `${fault('tx_id', '0', 'sum(amount)', `format('transaction %s does not add up: its entries leave %s instead of 0', tx_id, sum(amount))`)}
      from ledger_entries group by tx_id having sum(amount) <> 0`,
  },
  {
    name: 'accounts_equal_entries',
    counted: 'select count(*) from ledger_accounts',
    sql: `${fault('a.id', 'coalesce(e.total, 0)', 'a.balance', `format('account %s (%s of %s) shows %s, its entries make %s', a.id, a.kind, coalesce(a.org_id, 'the operator'), a.balance, coalesce(e.total, 0))`)}
      from ledger_accounts a left join (select account_id, sum(amount) as total from ledger_entries group by account_id) e on e.account_id = a.id
      where a.balance <> coalesce(e.total, 0)`,
  },
  {
    name: 'versions_without_gaps',
    counted: 'select count(*) from ledger_entries',
    sql: `${fault('a.id', 'a.version', 'coalesce(e.entries, 0)', `format('account %s is at version %s, but has %s entries up to version %s', a.id, a.version, coalesce(e.entries, 0), coalesce(e.top, 0))`)}
      from ledger_accounts a
      left join (select account_id, count(*) as entries, max(account_version) as top from ledger_entries group by account_id) e on e.account_id = a.id
      where a.version <> coalesce(e.entries, 0) or a.version <> coalesce(e.top, 0)`,
  },
  {
    name: 'running_balances_chain',
    counted: 'select count(*) from ledger_entries',
    sql: `${fault('id', 'before + amount', 'balance_after', `format('entry %s of account %s says %s is left, but %s and %s make %s', id, account_id, balance_after, before, amount, before + amount)`)}
      from (select id, account_id, amount, balance_after,
        coalesce(lag(balance_after) over (partition by account_id order by account_version), 0) as before from ledger_entries) e
      where balance_after <> before + amount`,
  },
  {
    name: 'balances_equal_accounts',
    counted: 'select count(*) from org_balances',
    sql: `${fault('b.org_id', 'coalesce(a.total, 0)', 'b.avail', `format('organization %s shows %s available and %s debt, its grants and debt make %s and %s', b.org_id, b.avail, b.debt, coalesce(a.total, 0), coalesce(a.debt, 0))`)}
      from org_balances b
      left join (select org_id, sum(balance) as total, coalesce(sum(balance) filter (where kind = 'debt'), 0) as debt
        from ledger_accounts where kind in ('grant', 'debt') group by org_id) a on a.org_id = b.org_id
      where b.avail <> coalesce(a.total, 0) or b.debt <> coalesce(a.debt, 0)`,
  },
  {
    name: 'grants_within_bounds',
    counted: 'select count(*) from grants',
    sql: `${fault('g.grant_id', 'g.amount', `coalesce(a.balance::text, 'no account')`, `format('grant %s of %s has %s left of %s', g.grant_id, g.org_id, coalesce(a.balance::text, 'no account and nothing'), g.amount)`)}
      from grants g left join ledger_accounts a on a.grant_id = g.grant_id
      where a.id is null or a.balance < 0 or a.balance > g.amount`,
  },
  {
    name: 'no_debt_beside_credits',
    counted: 'select count(*) from org_balances',
    sql: `${fault('d.org_id', '0', 'd.balance', `format('organization %s owes %s although it has %s to spend', d.org_id, -d.balance, sum(g.balance))`)}
      from ledger_accounts d join ledger_accounts g on g.org_id = d.org_id and g.live
      where d.kind = 'debt' and d.balance < 0 group by d.org_id, d.balance`,
  },
  {
    name: 'rollups_equal_rows',
    counted: 'select count(*) from usage_records',
    sql: `with r as (select org_id, day, token_id, model, endpoint, ${SUMS.map((sum) => `sum(${sum}) as ${sum}`).join(', ')}
        from (select org_id, day, token_id, model, endpoint, count(*) as requests, count(*) filter (where status in ('failed', 'rejected')) as errors,
            ${SUMMED.map((sum) => `sum(${sum}) as ${sum}`).join(', ')}, sum(audio_input + audio_output) as audio
            from usage_records group by org_id, day, token_id, model, endpoint
          union all select p.org_id, p.day, p.token_id, p.model, p.endpoint, p.requests, p.errors,
            ${SUMMED.map((sum) => `p.${sum}`).join(', ')}, p.audio from ${PAST} p) kept
        group by org_id, day, token_id, model, endpoint)
      ${fault('org_id', 'coalesce(r.cost, 0)', 'coalesce(s.cost, 0)', `format('%s on %s (%s, %s): the sums say %s requests for %s, the rows %s for %s', org_id, day, token_id, model, coalesce(s.requests, 0), coalesce(s.cost, 0), coalesce(r.requests, 0), coalesce(r.cost, 0))`)}
      from usage_rollups s full join r using (org_id, day, token_id, model, endpoint)
      where ${SUMS.map((sum) => `coalesce(s.${sum}, 0) <> coalesce(r.${sum}, 0)`).join(' or ')}`,
  },
  {
    name: 'charges_equal_entries',
    counted: `select count(*) from ledger_txs where kind in ('usage', 'usage_return')`,
    sql: `with parts as (
        select tx_id, sum(cost + operator_loss) as amount from usage_records where tx_id is not null group by tx_id
        union all select c.tx_id, c.amount from usage_past_charges c join usage_past_months m on m.month = c.month and m.gone_at is not null
        union all select r.tx_id, sum(c.old_cost + c.old_operator_loss - c.new_cost - c.new_operator_loss)
          from usage_corrections c join usage_records r on r.request_id = c.request_id and r.ts = c.ts where r.tx_id is not null group by r.tx_id
        union all select tx_id, sum(new_cost + new_operator_loss - old_cost - old_operator_loss) from usage_corrections where tx_id is not null group by tx_id
      ), records as (select tx_id, sum(amount) as amount from parts group by tx_id),
      booked as (select tx_id, sum(amount) as amount from ledger_entries e join ledger_accounts a on a.id = e.account_id
        where a.kind = 'usage' group by tx_id)
      ${fault('tx_id', 'coalesce(r.amount, 0)', 'coalesce(b.amount, 0)', `format('transaction %s booked %s as usage, the rows it paid for make %s', tx_id, coalesce(b.amount, 0), coalesce(r.amount, 0))`)}
      from booked b full join records r using (tx_id) where coalesce(b.amount, 0) <> coalesce(r.amount, 0)`,
  },
  {
    name: 'month_counters',
    counted: 'select count(*) from org_balances',
    sql: `${fault('b.org_id', 'coalesce(s.cost, 0)', 'b.month_spent', `format('organization %s counts %s spent in the month of %s, its days make %s', b.org_id, b.month_spent, b.month, coalesce(s.cost, 0))`)}
      from org_balances b
      left join (select r.org_id, sum(r.cost) as cost from usage_rollups r join org_balances o on o.org_id = r.org_id
        and r.day >= o.month and r.day < o.month + interval '1 month' group by r.org_id) s on s.org_id = b.org_id
      where b.month_spent <> coalesce(s.cost, 0)`,
  },
  {
    name: 'token_counters',
    counted: 'select count(*) from token_use',
    sql: `${fault('u.token_id', 'coalesce(s.cost, 0)', 'u.total', `format('token %s counts %s used, its days make %s', u.token_id, u.total, coalesce(s.cost, 0))`)}
      from token_use u left join (select token_id, sum(cost) as cost from usage_rollups group by token_id) s on s.token_id = u.token_id
      where u.total <> coalesce(s.cost, 0)`,
  },
  {
    // Where some rows of a month are let go, what is left of them can only say that too much is counted for.
    name: 'allowance_counters',
    counted: 'select count(*) from allowance_use',
    sql: `with given as (
        select r.org_id, date_trunc('month', r.day)::date as month, r.model as meter, sum((l ->> 'quantity')::numeric) as used
        from usage_records r
          cross join lateral json_array_elements(case when json_typeof(r.breakdown -> 'lines') = 'array' then r.breakdown -> 'lines' end) l
        where r.endpoint like 'meter:%' and l ->> 'rate' = '0' and l ->> 'quantity' ~ '^[0-9]{1,20}$' group by 1, 2, 3)
      ${fault(`org_id || ' ' || meter`, 'coalesce(g.used, 0)', 'coalesce(u.used, 0)', `format('organization %s counts %s free units of %s in the month of %s, its rows make %s', org_id, coalesce(u.used, 0), meter, month, coalesce(g.used, 0))`)}
      from allowance_use u full join given g using (org_id, month, meter)
      where coalesce(g.used, 0) > coalesce(u.used, 0) or coalesce(g.used, 0) < coalesce(u.used, 0) and not exists (
        select from usage_past_months p where p.gone_at is not null and p.month between month - interval '1 month' and month + interval '1 month')`,
  },
  {
    name: 'rows_have_their_transaction',
    counted: 'select count(*) from usage_records',
    sql: `${fault('r.tx_id', '1', '0', `format('%s usage rows name transaction %s, which does not exist', count(*), r.tx_id)`)}
      from usage_records r left join ledger_txs t on t.id = r.tx_id where r.tx_id is not null and t.id is null group by r.tx_id`,
  },
  {
    name: 'audit_chain',
    counted: 'select count(*) from audit_log',
    sql: `${fault('id', 'previous', 'previous_hash', `format('audit line %s does not follow the line before it: somebody changed one of them', id)`)}
      from (select a.id, a.hash, a.previous_hash, audit_hash(a) as computed, coalesce(lag(a.hash) over (order by a.id), repeat('0', 64)) as previous
        from audit_log a) chain
      where previous_hash <> previous or hash <> computed`,
  },
  {
    name: 'past_months_chain',
    counted: 'select count(*) from usage_past_months',
    sql: `${fault('month', 'computed', 'hash', `format('what is kept of %s does not follow from its own lines and the month sealed before it: somebody changed one of them', to_char(month, 'YYYY-MM'))`)}
      from (select m.month, m.hash, m.previous_hash, usage_past_hash(m) as computed,
          coalesce(lag(m.hash) over (order by m.sealed_at), repeat('0', 64)) as previous from usage_past_months m) chain
      where previous_hash <> previous or hash <> computed`,
  },
  {
    name: 'nothing_set_aside',
    counted: 'select count(*) from poison_rows',
    sql: `${fault('request_id', '0', '1', `format('request %s of %s was not booked: %s', request_id, org_id, error)`)} from poison_rows where resolved_at is null`,
  },
  {
    name: 'partitions_made_ahead',
    counted: 'select count(*) from usage_records_default',
    sql: `${fault(`'usage_records_default'`, '0', '1', 'alarm')} from usage_partitions_alarm() alarm where alarm is not null`,
  },
];

const isShort = (text: string): string => `length(${text}) <= 400`;
/** Divided with at least this many places behind the point. */
const PLACES = `1.${'0'.repeat(30)}`;

/** `n` or `n/d` as a number, with terms as long as a price may have; nothing when it is neither. */
const fractionOf = (text: string): string =>
  `case when ${text} ~ '^[0-9]+$' and ${isShort(text)} then ${text}::numeric when ${text} ~ '^[0-9]+/[0-9]+$' and ${isShort(text)}
    then split_part(${text}, '/', 1)::numeric * ${PLACES} / nullif(split_part(${text}, '/', 2)::numeric, 0) end`;

const SAID = `coalesce(ceil(exact - error)::text, 'nothing that can be read')`;

/**
 * What each row costs by its own breakdown. Fractions like 1/3 are not exact here, so such a row is named only when it is
 * off by more than their error. With many rows every `$1`-th is looked at. `offset 0`: what is taken out of JSON is taken out once.
 */
export const PRICES: Check = {
  name: 'prices_recompute',
  counted: `select count(*) from usage_records where ('x' || right(request_id::text, 6))::bit(24)::int % $1::int = 0`,
  sql: `with priced as (
      select r.request_id, r.cost + r.operator_loss as cost, case when p.unread = 0 then coalesce(p.sum, 0) * ${fractionOf('b.times')} end as exact,
        case when r.breakdown::text like '%/%' then 0.000000001 else 0 end as error
      from usage_records r
      left join lateral json_to_record(case when json_typeof(r.breakdown) = 'object' then r.breakdown end) b (times text, lines json) on true
      left join lateral (select sum(l.price) as sum, count(*) - count(l.price) as unread
        from (select case when quantity ~ '^[0-9]{1,20}$' then quantity::numeric end * ${fractionOf('rate')} as price
          from json_array_elements(case when json_typeof(b.lines) = 'array' then b.lines end) line,
            lateral (select line ->> 'quantity', line ->> 'rate' offset 0) x (quantity, rate)) l) p on true
      where ('x' || right(r.request_id::text, 6))::bit(24)::int % $1::int = 0 and not ('note_unreadable' = any (r.flags))
    )
    ${fault(`'req_' || replace(request_id::text, '-', '')`, SAID, 'cost', `format('request %s was charged %s, its breakdown makes %s', 'req_' || replace(request_id::text, '-', ''), cost, ${SAID})`)}
    from priced where cost not between least(ceil(exact - error), 999999999999999) and least(ceil(exact + error), 999999999999999)`,
};
