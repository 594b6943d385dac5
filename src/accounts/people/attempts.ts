import { digestOf } from '../../domain/secrets.js';
import type { PeopleContext } from './context.js';

/** One thing that is counted: at most `most` within a window that starts with the first. */
export interface Counted {
  readonly name: string;
  readonly most: number;
  readonly windowS: number;
}

const MINUTE_S = 60;
const QUARTER_S = 900;

/** Trying passwords and codes: of one person from one place, of one person from anywhere, from one place for anybody. */
export const guesses = (what: string, email: string, address: string): readonly Counted[] => [
  { name: `${what} ${placeOf(address)} ${email}`, most: 5, windowS: MINUTE_S },
  { name: `guess of ${email}`, most: 40, windowS: QUARTER_S },
  ...guessesFrom(address),
];

/** Trying what belongs to nobody that is known yet. */
export const guessesFrom = (address: string): readonly Counted[] => [
  { name: `guess from ${placeOf(address)}`, most: 100, windowS: QUARTER_S },
];

/** Asking for mail to somebody's address, or for a new account. */
export const askings = (what: string, email: string, address: string): readonly Counted[] => [
  { name: `${what} ${placeOf(address)} ${email}`, most: 5, windowS: MINUTE_S },
  { name: `${what} for ${email}`, most: 10, windowS: QUARTER_S },
  ...askingsFrom(what, address),
];

export const askingsFrom = (what: string, address: string): readonly Counted[] => [
  { name: `${what} from ${placeOf(address)}`, most: 60, windowS: QUARTER_S },
];

/** Whoever has one address of IPv6 has all of its network. */
function placeOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped || !address.includes(':')) return mapped ?? address;
  const [head = '', tail] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail ? tail.split(':') : [];
  const zeros = tail === undefined ? [] : Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0');
  return [...left, ...zeros, ...right].slice(0, 4).join(':');
}

/** Counts one more try of each. How long to wait in milliseconds; 0 = go ahead. Names are kept as digests. */
export async function countTry(ctx: Pick<PeopleContext, 'db' | 'pepper'>, counted: readonly Counted[]): Promise<number> {
  const each = [...new Map(counted.map((one) => [one.name, one])).values()];
  const keys = each.map(({ name }) => digestOf(name, ctx.pepper));
  const row = await ctx.db.one<{ wait_ms: number }>(
    `
    with want as (
      select * from unnest($1::text[], $2::int[], $3::int[]) as w (key, most, window_s) order by key
    ), swept as (
      delete from auth_attempts a where a.key in (select o.key from auth_attempts o where o.until < now() and o.key <> all ($1::text[]) limit 20)
    ), counted as (
      insert into auth_attempts as a (key, tries, until) select key, 1, now() + make_interval(secs => window_s) from want
      on conflict (key) do update set
        tries = case when a.until <= now() then 1 else least(a.tries + 1, 1000000) end,
        until = case when a.until <= now() then excluded.until else a.until end
      returning key, tries, until
    )
    select coalesce(max(ceil(extract(epoch from c.until - now()) * 1000)) filter (where c.tries > w.most), 0)::bigint as wait_ms
    from counted c join want w using (key)`,
    [keys, each.map(({ most }) => most), each.map(({ windowS }) => windowS)],
  );
  return row?.wait_ms ?? 0;
}

/** It was the right one: what was counted for it does not count against the next. */
export async function forgiveTry(ctx: Pick<PeopleContext, 'db' | 'pepper'>, counted: readonly Counted[]): Promise<void> {
  const keys = counted.map(({ name }) => digestOf(name, ctx.pepper));
  await ctx.db.query('update auth_attempts set tries = greatest(tries - 1, 0) where key = any ($1::text[])', [keys]);
}
