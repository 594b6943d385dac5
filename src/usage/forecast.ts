import type { UsageMonth } from './month.js';

/** Where the running month is heading. Micro-credits, rounded once, at the end. */
export interface Forecast {
  /** The days it learns from: whole ones, the last 28 at most, from the first use on. */
  readonly from: string | null;
  readonly fullDays: number;
  readonly perDay: number;
  /** Today and every day to come, each with what the month will have cost at its end. */
  readonly days: readonly ForecastDay[];
}

export interface ForecastDay extends Band {
  readonly date: string;
}

/** In four of five cases the truth lies between the two. */
export interface Band {
  readonly total: number;
  readonly low: number;
  readonly high: number;
}

/** With fewer whole days to learn from any projection would be a guess. */
export const FULL_DAYS_MIN = 3;

/**
 * used + for every day to come the mean of the same weekday in the last 28 days (of all observed days where that weekday
 * was not seen) + the rest of today pro rata. Null for other months than the running one.
 */
export function forecastOf(month: UsageMonth): Forecast | null {
  if (!month.today.startsWith(month.month)) return null;
  const observed = observedDays(month);
  const perDay = meanOf(observed.map(({ cost }) => cost));
  const found = { from: observed[0]?.date ?? null, fullDays: observed.length, perDay: Math.round(perDay) };
  return { ...found, days: observed.length < FULL_DAYS_MIN ? [] : daysToCome(month, observed, perDay) };
}

/** What the month will have cost, or null as long as too little is known. */
export const projectMonth = (month: UsageMonth): number | null => forecastOf(month)?.days.at(-1)?.total ?? null;

function daysToCome(month: UsageMonth, observed: readonly Day[], perDay: number): ForecastDay[] {
  const { today } = month;
  const usual = (date: string): number => {
    const same = observed.filter((one) => weekday(one.date) === weekday(date)).map(({ cost }) => cost);
    return same.length > 0 ? meanOf(same) : perDay;
  };
  const used = month.totals.cost;
  const spread = deviationOf(observed.map(({ cost }) => cost));
  const left = (1000 - gone(month)) / 1000;
  const days: ForecastDay[] = [];
  let [total, length] = [used + restOfToday(month, usual(today)), left];
  for (let date = today; date.startsWith(month.month); date = dayAfter(date)) {
    if (date !== today) [total, length] = [total + usual(date), length + 1];
    days.push({ date, ...bandOf({ used, total, width: BAND * spread * Math.sqrt(length) }) });
  }
  return days;
}

/** Days differ from their mean independently of each other, so the width grows with the square root of their number. */
const BAND = 1.2816;

const bandOf = ({ used, total, width }: { readonly used: number; readonly total: number; readonly width: number }): Band => ({
  total: Math.round(total),
  low: Math.round(Math.max(used, total - width)),
  high: Math.round(total + width),
});

const gone = ({ today_gone }: UsageMonth): number => Math.min(1000, Math.max(0, today_gone));

/** Today goes on as it began; just after midnight it has not begun yet, and the usual day stands for it. */
function restOfToday(month: UsageMonth, usualToday: number): number {
  const part = gone(month);
  const spent = month.days.find(({ date }) => date === month.today)?.cost ?? 0;
  return part >= 50 ? (spent * (1000 - part)) / part : (usualToday * (1000 - part)) / 1000;
}

interface Day {
  readonly date: string;
  readonly cost: number;
}

/** Days without use inside the observed stretch count as 0; days before the first use do not count. */
function observedDays({ before, first_used, today }: UsageMonth): Day[] {
  const known = new Map(before.map(({ date, cost }) => [date, cost]));
  const earliest = dayText(Date.parse(today) - 28 * DAY_MS);
  const days: Day[] = [];
  if (first_used === null) return days;
  for (let date = first_used < earliest ? earliest : first_used; date < today; date = dayAfter(date))
    days.push({ date, cost: known.get(date) ?? 0 });
  return days;
}

/** When the running total reaches an amount: as expected, and at the edges of the band. Null: not in this month. */
export interface Reached {
  readonly expected: string | null;
  readonly earliest: string | null;
  readonly latest: string | null;
}

/** `isReached` says what reaching means: the alert is about being above its threshold, the limit about being at it. */
export function reachedOn(days: readonly ForecastDay[], isReached: (total: number) => boolean): Reached {
  const first = (of: (day: ForecastDay) => number): string | null => days.find((day) => isReached(of(day)))?.date ?? null;
  return { expected: first((day) => day.total), earliest: first((day) => day.high), latest: first((day) => day.low) };
}

const DAY_MS = 86_400_000;
const dayText = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
const dayAfter = (date: string): string => dayText(Date.parse(date) + DAY_MS);
const weekday = (date: string): number => new Date(date).getUTCDay();

export const meanOf = (costs: readonly number[]): number =>
  costs.length === 0 ? 0 : costs.reduce((sum, cost) => sum + cost, 0) / costs.length;

/** Of a sample. */
export function deviationOf(costs: readonly number[]): number {
  if (costs.length < 2) return 0;
  const mean = meanOf(costs);
  return Math.sqrt(costs.reduce((sum, cost) => sum + (cost - mean) ** 2, 0) / (costs.length - 1));
}
