import { describe, expect, test } from 'vitest';
import { runsOut } from '../../src/usage/burn.js';
import { forecastOf, projectMonth, reachedOn } from '../../src/usage/forecast.js';
import type { UsageMonth } from '../../src/usage/month.js';

const sums = { requests: 0, errors: 0, input: 0, cached_input: 0, output: 0 };
const day = (date: string, cost: number) => ({ ...sums, date, cost, top: null });
const november = (today: string, over: Partial<UsageMonth> = {}): UsageMonth => ({
  time_zone: 'UTC',
  month: '2026-11',
  today,
  starts_at: '2026-11-01T00:00:00+00:00',
  ends_at: '2026-12-01T00:00:00+00:00',
  alert_threshold: null,
  allowed_limit: null,
  aggregated_at: '2026-11-28T12:00:00Z',
  days: [],
  totals: { ...sums, cost: 0 },
  before: [],
  first_used: over.before?.[0]?.date ?? null,
  today_gone: 500,
  ...over,
});

describe('what a month will cost', () => {
  test('the same weekday stands for a day to come, and today goes on as it began', () => {
    // 28 November 2026 is a Saturday; a Sunday and a Monday are left.
    const before = ['22', '23', '24', '25', '26', '27'].map((date, index) => ({ date: `2026-11-${date}`, cost: (index + 1) * 100 }));
    const month = november('2026-11-28', { before, days: [day('2026-11-28', 40)], totals: { ...sums, cost: 2_140 } });
    expect(projectMonth(month)).toBe(2_140 + 100 + 200 + 40);
  });

  test('of several such weekdays it is the mean, whether they were in this month or in the last', () => {
    const before = [
      { date: '2026-10-15', cost: 90 },
      { date: '2026-10-22', cost: 100 },
      { date: '2026-11-05', cost: 81 },
    ];
    // Wednesday the 11th: Thursdays cost 90, 100, 0 and 81; all other days, today too, nothing.
    const month = november('2026-11-11', { before, totals: { ...sums, cost: 81 }, today_gone: 0 });
    expect(forecastOf(month)?.fullDays).toBe(27);
    expect(projectMonth(month)).toBe(Math.round(81 + 3 * ((90 + 100 + 0 + 81) / 4)));
  });

  test('a weekday nobody has seen counts as the mean of all days, quiet days included', () => {
    const before = [
      { date: '2026-11-24', cost: 300 },
      { date: '2026-11-26', cost: 300 },
      { date: '2026-11-27', cost: 300 },
    ];
    const month = november('2026-11-28', { before, days: [day('2026-11-28', 0)], totals: { ...sums, cost: 900 }, today_gone: 1_000 });
    expect(projectMonth(month)).toBe(900 + 225 + 225);
  });

  test('just after midnight the usual day stands for today', () => {
    const before = ['26', '27', '28'].map((date) => ({ date: `2026-11-${date}`, cost: 100 }));
    const month = november('2026-11-29', { before, days: [day('2026-11-29', 90)], totals: { ...sums, cost: 390 }, today_gone: 10 });
    expect(projectMonth(month)).toBe(390 + 99 + 100);
  });

  test('with less than three whole days since the first use, or for another month, there is no projection', () => {
    const before = [
      { date: '2026-11-26', cost: 300 },
      { date: '2026-11-27', cost: 300 },
    ];
    const short = forecastOf(november('2026-11-28', { before }));
    expect(short).toMatchObject({ fullDays: 2, days: [], perDay: 300 });
    expect(projectMonth(november('2026-11-28', { before }))).toBe(null);
    expect(projectMonth(november('2026-11-28', { before, first_used: '2026-11-25' }))).toBe(2 * 200);
    expect(projectMonth(november('2026-12-02', { before: [...before, { date: '2026-11-25', cost: 1 }] }))).toBe(null);
    expect(forecastOf(november('2026-11-28'))).toMatchObject({ from: null, fullDays: 0, perDay: 0, days: [] });
  });

  test('whoever was here before has 28 days behind them, however quiet', () => {
    const month = november('2026-11-28', { before: [{ date: '2026-11-27', cost: 280 }], first_used: '2026-01-01', today_gone: 1_000 });
    expect(forecastOf(month)).toMatchObject({ from: '2026-10-31', fullDays: 28, perDay: 10 });
    expect(projectMonth(month)).toBe(0);
  });

  test('the band grows with the square root of the days, never below what is used; equal days have none', () => {
    const before = [100, 300, 200].map((cost, index) => ({ date: `2026-11-2${index + 4}`, cost }));
    const days = forecastOf(november('2026-11-27', { before, totals: { ...sums, cost: 600 }, today_gone: 1_000 }))?.days ?? [];
    // Days differ by 100 around their mean of 200.
    const width = (length: number) => 1.2816 * 100 * Math.sqrt(length);
    expect(days).toEqual([
      { date: '2026-11-27', total: 600, low: 600, high: 600 },
      ...[1, 2, 3].map((length) => ({
        date: `2026-11-${27 + length}`,
        total: 600 + 200 * length,
        low: Math.round(Math.max(600, 600 + 200 * length - width(length))),
        high: Math.round(600 + 200 * length + width(length)),
      })),
    ]);
    const equal = before.map(({ date }) => ({ date, cost: 200 }));
    const flat = forecastOf(november('2026-11-27', { before: equal, totals: { ...sums, cost: 600 } }))?.days.at(-1);
    expect([flat?.low, flat?.high]).toEqual([flat?.total, flat?.total]);
  });

  test('an amount is reached on the first day that ends with it, in the middle and at both edges', () => {
    const before = [100, 300, 200].map((cost, index) => ({ date: `2026-11-2${index + 1}`, cost }));
    const days = forecastOf(november('2026-11-24', { before, totals: { ...sums, cost: 600 }, today_gone: 1_000 }))?.days ?? [];
    expect(reachedOn(days, (total) => total >= 1_000)).toEqual({ expected: '2026-11-26', earliest: '2026-11-26', latest: '2026-11-28' });
    expect(reachedOn(days, (total) => total > 1_000)).toMatchObject({ expected: '2026-11-27' });
    expect(reachedOn(days, (total) => total >= 2_000)).toEqual({ expected: null, earliest: '2026-11-30', latest: null });
  });
});

describe('when credits run out', () => {
  const NOW = Date.UTC(2026, 10, 20);
  const on = (date: string): Date => new Date(`${date}T00:00:00Z`);
  const burn = (perDay7d: number, ...days: number[]) => ({ perDay7d, perDay24h: 0, days });

  test('equal days end on one day, uneven ones between two', () => {
    expect(runsOut(1_000, burn(100, 100, 100, 100), NOW)).toEqual({
      at: on('2026-11-30'),
      earliest: on('2026-11-30'),
      latest: on('2026-11-30'),
    });
    const uneven = runsOut(1_000, burn(100, 0, 200, 100), NOW);
    expect(uneven?.at).toEqual(on('2026-11-30'));
    const [soon = 0, late = 0] = [uneven?.earliest, uneven?.latest].map((at) => ((at?.getTime() ?? 0) - NOW) / 86_400_000);
    // After t days 100 t ± 128.16 √t are used: both meet 1,000.
    expect(100 * soon + 128.16 * Math.sqrt(soon)).toBeCloseTo(1_000, 3);
    expect(100 * late - 128.16 * Math.sqrt(late)).toBeCloseTo(1_000, 3);
  });

  test('nothing left is now, no use is never, and so is what lies ten years ahead', () => {
    expect(runsOut(-5, burn(100, 100), NOW)?.at).toEqual(new Date(NOW));
    expect(runsOut(1_000, burn(0, 0, 0), NOW)).toBe(null);
    expect(runsOut(999_999_999_999_999, burn(1, 1), NOW)).toBe(null);
  });
});
