import { expect, test } from 'vitest';
import { categoryOf, meterAt, unitOfMeter } from '../../src/api/priceWords.js';
import { buildBook, type MeterEntry } from '../../src/pricing/book.js';

const meter = { label: 'x', unit: 'minute', amount: '1', per: 60, stepSeconds: 1, critical: true, free: false };
const book = buildBook({
  credits: { base: '200', value: null },
  groups: [],
  models: [{ pattern: 'own-*', rule: { kind: 'free', category: 'In house' } }],
  meters: [
    { ...meter, name: 'audio.images', category: 'Calls' },
    { ...meter, name: 'plain', unit: 'query', per: 5, stepSeconds: 0 },
  ],
  ...{ unpriced: { kind: 'reject' }, defaults: false, demo: true, partBounds: { image: null, audio: null, file: null } },
});
const at = (model: string, endpoint: string) => categoryOf(book, { model, endpoint });

test('requests stand under what their endpoint does, by its first word and nothing else', () => {
  expect(
    ['/chat/completions', '/completions', '/embeddings', '/audio/speech', '/images/generations'].map((path) => at('demo', path)),
  ).toEqual(['LLM inference', 'LLM inference', 'Embeddings', 'Speech', 'Images']);
  expect([at('demo', '/files/audio'), at('demo', 'deduction'), at('demo', 'constructor')]).toEqual(['API', 'API', 'API']);
});

test('what the configuration says comes first', () => {
  expect(at('own-llama', '/chat/completions')).toBe('In house');
  expect(at('audio.images', 'meter:audio.images')).toBe('Calls');
  expect(at('plain', 'meter:plain')).toBe('Metered actions');
  expect(at('gone', 'meter:gone')).toBe('Metered actions');
  expect([meterAt(book, 'meter:gone'), meterAt(book, 'plain')]).toEqual([undefined, undefined]);
});

test('the unit of a meter is the one of the configuration, and seconds where that is a time', () => {
  const units = ['audio.images', 'plain'].map((name) => unitOfMeter(book.meter(name) as MeterEntry));
  expect(units).toEqual([
    { unit: 'second', per: 60 },
    { unit: 'query', per: 5 },
  ]);
});
