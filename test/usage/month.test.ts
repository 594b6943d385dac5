import { expect, test } from 'vitest';
import { projectMonth, type UsageMonth } from '../../src/usage/month.js';

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
  today_gone: 500,
  ...over,
});

test('the same weekday stands for a day to come, and today goes on as it began', () => {
  // 28 November 2026 is a Saturday; a Sunday and a Monday are left.
  const before = ['22', '23', '24', '25', '26', '27'].map((date, index) => ({ date: `2026-11-${date}`, cost: (index + 1) * 100 }));
  const month = november('2026-11-28', { before, days: [day('2026-11-28', 40)], totals: { ...sums, cost: 2_140 } });
  expect(projectMonth(month)).toBe(2_140 + 100 + 200 + 40);
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

test('with less than three days of use, or for another month, there is no projection', () => {
  const before = [
    { date: '2026-11-26', cost: 300 },
    { date: '2026-11-27', cost: 300 },
  ];
  expect(projectMonth(november('2026-11-28', { before }))).toBe(null);
  expect(projectMonth(november('2026-12-02', { before: [...before, { date: '2026-11-25', cost: 1 }] }))).toBe(null);
});
