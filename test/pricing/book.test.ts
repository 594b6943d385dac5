import { expect, test } from 'vitest';
import type { PriceRule, PriceSource } from '../../src/domain/prices.js';
import { buildBook } from '../../src/pricing/book.js';
import { charge } from '../../src/pricing/charge.js';
import type { PriceEntry } from '../../src/pricing/entry.js';
import { isOverride, timesFor } from '../../src/pricing/multiplier.js';
import { differences, workedExamples } from '../../src/pricing/worked.js';
import { bookWith, credits, DAY, rates, ratio, SOURCE, usage, x } from './books.js';

const at = (value: string): PriceRule => rates({ input: ratio(value), output: x('4') });
const rateOf = (entry: PriceEntry | undefined, meter = 'input'): string | undefined => entry?.table.rates.get(meter)?.value.text;

// B1
test('a model nobody priced is not found, whatever it is called', () => {
  const book = bookWith({ models: [{ pattern: 'm', rule: at('1') }] });
  for (const name of [
    '',
    'M',
    'm ',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'valueOf',
    'x'.repeat(1_000_000),
    '*',
    '\u0000',
  ]) {
    expect(book.find(name)).toBeUndefined();
  }
  for (const hostile of [undefined, null, 5, {}, ['m']]) expect(book.find(hostile as unknown as string)).toBeUndefined();
});

test('an exact name beats a pattern, and the longest pattern beats a shorter one', () => {
  const book = bookWith({
    models: [
      { pattern: 'gpt-*', rule: at('1') },
      { pattern: 'gpt-4o-*', rule: at('2') },
      { pattern: 'gpt-4o-mini', rule: at('3') },
    ],
  });
  expect(['gpt-4o-mini', 'gpt-4o-mini-x', 'gpt-4', 'gpt-'].map((name) => rateOf(book.find(name)))).toEqual(['600', '400', '200', '200']);
});

test('the operator wins over the default book, and a rejected name stays rejected', () => {
  const book = bookWith({
    defaults: true,
    models: [
      { pattern: 'gpt-4o*', rule: at('7') },
      { pattern: 'gpt-4', rule: { kind: 'reject' } },
    ],
  });
  expect(rateOf(book.find('gpt-4o-mini'))).toBe('1400');
  expect(book.find('gpt-4')).toBeUndefined();
  expect(book.find('gpt-4.1')?.origin).toBe('default');
  expect(book.models().some(({ name }) => name === 'gpt-4')).toBe(false);
});

test('the price for everything unknown comes after the default book', () => {
  const book = bookWith({ defaults: true, unpriced: at('30') });
  expect(rateOf(book.find('nobody-knows-me'))).toBe('6000');
  expect(rateOf(book.find('gpt-4o-mini'))).toBe('15');
});

test('a pattern is remembered for a bounded number of names and still right after that', () => {
  const book = bookWith({ models: [{ pattern: 'a*', rule: at('1') }] });
  for (let i = 0; i < 5000; i++) expect(book.find(i % 2 ? `a${i}` : `b${i}`) !== undefined).toBe(i % 2 === 1);
  expect(rateOf(book.find('a1'))).toBe('200');
});

test('a model priced like another follows it, times a number', () => {
  const book = bookWith({
    defaults: true,
    models: [
      { pattern: 'base', rule: at('1') },
      { pattern: 'ft:base:*', rule: { kind: 'like', model: 'base', times: '2', holdOutput: 7 } },
      { pattern: 'third', rule: { kind: 'like', model: 'ft:base:x', times: '1.5' } },
      { pattern: 'mine', rule: { kind: 'like', model: 'gpt-4o-mini', times: '1.1' } },
    ],
  });
  expect(rateOf(book.find('ft:base:acme'))).toBe('400');
  expect(book.find('ft:base:acme')?.holdOutput).toBe(7);
  expect([rateOf(book.find('third')), rateOf(book.find('third'), 'output')]).toEqual(['600', '2400']);
  expect(rateOf(book.find('mine'))).toBe('33/2');
});

test.each<[string, PriceRule]>([
  ['a circle', { kind: 'like', model: 'm', times: '1' }],
  ['an unknown model', { kind: 'like', model: 'nothing', times: '1' }],
  ['a multiplier of 0', { kind: 'like', model: 'gpt-4o', times: '0' }],
  ['a rate of 0', rates({ input: credits('0', 1) })],
  ['a negative rate', rates({ input: credits('-1', 1) })],
  ['a float in scientific notation', rates({ input: credits('1e-7', 1) })],
  ['no rate at all', rates({})],
  ['a multiple of nothing', rates({ output: x('4') })],
  ['units of 0', rates({ input: credits('1', 0) })],
  ['a step that is no number', { ...rates({ second: credits('1', 1) }), stepSeconds: Number.NaN }],
])('a book with %s is refused with the name of the model', (_, rule) => {
  expect(() => buildBook({ ...SOURCE, defaults: true, models: [{ pattern: 'm', rule }] }, DAY)).toThrow(/"m"/);
});

test('the version is a hash of the content: the order of the file does not matter, any price does', () => {
  const models = [
    { pattern: 'a', rule: at('1') },
    { pattern: 'b', rule: at('2') },
  ];
  const one = bookWith({ models });
  expect(one.version).toMatch(/^pv_[0-9a-f]{16}$/);
  expect(bookWith({ models: [...models].reverse() }).version).toBe(one.version);
  expect(
    bookWith({
      models: [
        { pattern: 'a', rule: at('1') },
        { pattern: 'b', rule: at('2.0000001') },
      ],
    }).version,
  ).not.toBe(one.version);
  expect(bookWith({ models, groups: [{ name: 'vip', times: '0.8' }] }).version).not.toBe(one.version);
  expect(JSON.parse(one.canonical).source.models).toHaveLength(2);
});

test("groups multiply, an organization's own multiplier multiplies once more, exactly", () => {
  const book = bookWith({ models: [{ pattern: 'm', rule: at('1') }], groups: [{ name: 'vip', times: '0.8' }] });
  const times = (group: string, prices: Record<string, unknown> | null) => {
    const found = timesFor({ book, group, prices, model: 'm' });
    return found.kind === 'priced' ? found.times.text : found.code;
  };
  expect(times('default', null)).toBe('1');
  expect(times('vip', null)).toBe('4/5');
  expect(times('vip', { m: '0.9' })).toBe('18/25');
  expect(times('vip', { m: 0.1 })).toBe('2/25');
  expect(times('vip', { '*': '2', 'm*': '3', n: '4' })).toBe('12/5');
  expect(times('nobody', null)).toBe('model_not_priced');
  expect(times('__proto__', null)).toBe('model_not_priced');
});

test('an organization can have a price of its own; its group still multiplies it', () => {
  const book = bookWith({ groups: [{ name: 'vip', times: '0.8' }], models: [{ pattern: 'm', rule: at('1') }] });
  const priced = timesFor({ book, group: 'vip', prices: { m: rates({ input: credits('10', 1_000_000), output: x('2') }) }, model: 'm' });
  if (priced.kind !== 'priced') throw new Error('refused');
  expect(priced.entry.origin).toBe('organization');
  expect(charge({ entry: priced.entry, usage: usage({ input: 10, output: 10 }), times: priced.times }).cost).toBe(240);
  expect(timesFor({ book, group: 'vip', prices: { m: { kind: 'reject' } }, model: 'm' }).kind).toBe('refused');
});

test.each([
  0,
  -1,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  '0',
  '-1',
  '1e3',
  '',
  'x',
  null,
  true,
  [],
  {},
  { kind: 'rates' },
  { kind: 'rates', rates: { input: { by: 'credits', amount: 0, per: 1 } }, tiers: [], stepSeconds: 0 },
  { kind: 'free', holdOutput: -1 },
])('an override of %o refuses the model instead of giving it away', (value) => {
  const book = bookWith({ models: [{ pattern: 'm', rule: at('1') }] });
  expect(isOverride(value)).toBe(false);
  expect(timesFor({ book, group: 'default', prices: { m: value }, model: 'm' }).kind).toBe('refused');
});

test('names of the prototype are not overrides', () => {
  const book = bookWith({
    models: [
      { pattern: '*x', rule: at('1') },
      { pattern: 'constructor', rule: at('1') },
    ],
  });
  const found = timesFor({ book, group: 'default', prices: JSON.parse('{"__proto__":"5"}'), model: 'constructor' });
  expect(found.kind === 'priced' && found.times.text).toBe('1');
});

test('meters are priced by their unit', () => {
  const meter = { name: 'call', label: 'Call', unit: 'minute', amount: '12', per: 60, stepSeconds: 1, critical: true, free: false };
  const book = bookWith({ meters: [meter, { ...meter, name: 'query', unit: 'query', amount: '1', per: 1, stepSeconds: 0 }] });
  const one = book.meter('call')?.entry as PriceEntry;
  expect(charge({ entry: one, usage: usage({ seconds: 90 }), times: { n: 1n, d: 1n, text: '1' } }).cost).toBe(18_000_000);
  const two = book.meter('query')?.entry as PriceEntry;
  expect(charge({ entry: two, usage: usage({ meters: { query: 2 } }), times: { n: 1n, d: 1n, text: '1' } }).cost).toBe(2_000_000);
  expect(book.meter('__proto__')).toBeUndefined();
});

const defaults = (source: Partial<PriceSource> = {}) => bookWith({ defaults: true, demo: true, ...source });

test('list prices become credits at the value of a credit', () => {
  const entry = defaults().find('gpt-4o-mini');
  expect(['input', 'cached_input', 'output'].map((meter) => rateOf(entry, meter))).toEqual(['15', '15/2', '60']);
  expect(rateOf(defaults({ credits: { base: '200', value: { amount: '0.03', currency: 'USD' } } }).find('gpt-4o-mini'))).toBe('5');
});

test('without a value in dollars the base decides: ratio 1 is $2 per 1M', () => {
  for (const value of [null, { amount: '0.01', currency: 'EUR' }]) {
    expect(rateOf(defaults({ credits: { base: '2000', value } }).find('gpt-4o-mini'))).toBe('150');
  }
});

test('dated versions of a known model have its price; the next model that starts alike has none', () => {
  const book = defaults();
  expect(rateOf(book.find('claude-opus-4-6-20260115'))).toBe(rateOf(book.find('claude-opus-4-6')));
  expect(rateOf(book.find('claude-opus-4-6'))).toBe('500');
  for (const name of ['gpt-4o-mini-ultra', 'claude-opus-4-66', 'gpt-5-nano-max', 'qwen-plus', 'dall-e-3', 'gpt-99'])
    expect(book.find(name)).toBeUndefined();
});

test('long-context boundaries keep what the list says: above 200,000, or from 272,000 on', () => {
  const book = defaults();
  expect(book.find('gemini-2.5-pro')?.tiers.map(({ from }) => from)).toEqual([200_001]);
  expect(book.find('gpt-5.4')?.tiers.map(({ from }) => from)).toEqual([272_000]);
  const entry = book.find('gemini-2.5-pro') as PriceEntry;
  const one = { n: 1n, d: 1n, text: '1' };
  expect(charge({ entry, usage: usage({ input: 200_000, output: 10 }), times: one }).cost).toBe(200_000 * 125 + 10 * 1000);
  expect(charge({ entry, usage: usage({ input: 200_001, output: 10 }), times: one }).cost).toBe(200_001 * 250 + 10 * 1500);
});

test('no model of the default book is free, negative or half priced', () => {
  const listed = defaults().models();
  expect(listed.length).toBeGreaterThan(300);
  for (const { entry } of listed) {
    expect(entry.free).toBe(false);
    for (const { value } of entry.table.rates.values()) expect(value.n > 0n).toBe(true);
    const { rates: found } = entry.table;
    expect(found.has('input') ? found.has('output') : found.has('request') || found.has('second')).toBe(true);
  }
});

test('the demo model has a price unless the operator switches it off', () => {
  expect(['input', 'output'].map((meter) => rateOf(defaults().find('demo'), meter))).toEqual(['15', '60']);
  expect(bookWith({ demo: true }).find('demo')).toBeDefined();
  expect(defaults({ demo: false }).find('demo')).toBeUndefined();
});

test('worked examples say what a typical request costs, and what a new book changes', () => {
  const before = bookWith({
    models: [
      { pattern: 'a', rule: at('1') },
      { pattern: 'b', rule: at('1') },
    ],
  });
  const after = bookWith({
    models: [
      { pattern: 'a', rule: at('2') },
      { pattern: 'c', rule: at('1') },
    ],
  });
  expect(workedExamples(before)[0]).toMatchObject({ model: 'a', typical: 1_000_000, cached: 1_000_000 });
  expect(differences(before, after).map(({ model, kind }) => [model, kind])).toEqual([
    ['a', 'changed'],
    ['b', 'removed'],
    ['c', 'added'],
  ]);
  expect(differences(before, before)).toEqual([]);
});

test('the default book follows credits, base and day, also when built again and again', () => {
  const at = (base: string, day: number): string | undefined =>
    rateOf(buildBook({ ...SOURCE, credits: { base, value: null }, defaults: true, demo: true }, day).find('gemini-3.6-flash'));
  const [before, after] = [at('200', DAY), at('200', Date.UTC(2027, 5, 1))];
  expect(before).toBeDefined();
  expect(after).not.toBe(before);
  expect([at('400', DAY), at('200', DAY)]).not.toEqual([before, before]);
  expect(at('200', DAY)).toBe(before);
  expect(rateOf(buildBook({ ...SOURCE, credits: { base: '400', value: null }, demo: true }, DAY).find('demo'))).toBe('30');
});
