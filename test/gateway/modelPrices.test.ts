import { expect, test } from 'vitest';
import type { Rates } from '../../src/domain/prices.js';
import { modelPricing } from '../../src/gateway/modelPrices.js';
import { contextLength } from '../../src/pricing/context.js';
import { fraction, ONE } from '../../src/pricing/fraction.js';
import { bookWith, credits, rates, ratio, x } from '../pricing/books.js';

const CENT = { amount: '0.01', currency: 'USD' } as const;

function pricedAs(found: Rates, times = ONE) {
  const entry = bookWith({ models: [{ pattern: 'm', rule: rates(found) }] }).find('m');
  if (!entry) throw new Error('no price');
  return { entry, times };
}

test('ratio 1 is two dollars a million tokens, said per token as a decimal without an exponent', () => {
  const priced = pricedAs({ input: ratio('1'), output: x('4'), cached_input: x('0.5') });
  const pricing = modelPricing(priced, CENT);
  expect(pricing).toMatchObject({ prompt: '0.000002', completion: '0.000008', input_cache_read: '0.000001' });
  expect(pricing).not.toHaveProperty('internal_reasoning');
});

test('what a group pays is what is said', () => {
  expect(modelPricing(pricedAs({ input: ratio('1') }, fraction(4n, 5n)), CENT)).toMatchObject({ prompt: '0.0000016' });
});

test('a price per request has no price per token, and both are there', () => {
  expect(modelPricing(pricedAs({ request: credits('10', 1) }), CENT)).toEqual({ prompt: '0', completion: '0', request: '0.1' });
});

test('without a published value prices are in credits', () => {
  expect(modelPricing(pricedAs({ request: credits('10', 1) }), null)).toMatchObject({ request: '10' });
});

test('a price without an end is rounded up, never down', () => {
  expect(modelPricing(pricedAs({ second: credits('5', 60) }), CENT)['second']).toBe('0.00083333333333333334');
});

test('the context of well-known models is known, of dated versions too, and of nothing that only begins alike', () => {
  const known = contextLength('gpt-4o');
  expect(known).toBeGreaterThan(100_000);
  expect(contextLength('gpt-4o-2024-08-06')).toBe(known);
  for (const name of ['my-model', '', '__proto__', 'gpt-4ooo', `gpt-4o-${'x'.repeat(100_000)}`]) expect(contextLength(name)).toBeNull();
});
