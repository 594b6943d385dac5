import { EXACT, isMeter, type PriceRule } from '../domain/prices.js';

/** Whether stored JSON really is a price rule; used for prices of an organization's own, which were not read from YAML. */
export function isPriceRule(value: unknown): value is PriceRule {
  if (!isRecord(value) || !factsAreSound(value)) return false;
  switch (value['kind']) {
    case 'reject':
    case 'free':
      return true;
    case 'like':
      return typeof value['model'] === 'string' && isExact(value['times']);
    case 'rates':
      return isRates(value['rates']) && Array.isArray(value['tiers']) && value['tiers'].every(isTier) && isCount(value['stepSeconds']);
    default:
      return false;
  }
}

function isRates(value: unknown): boolean {
  if (!isRecord(value)) return false;
  return Object.entries(value).every(([name, rate]) => {
    if (name !== 'custom') return isMeter(name) && isRate(rate);
    return Array.isArray(rate) && rate.every((item) => isRecord(item) && typeof item['meter'] === 'string' && isRate(item['rate']));
  });
}

function isRate(value: unknown): boolean {
  if (!isRecord(value) || !isExact(value['amount'])) return false;
  if (value['by'] === 'credits') return isCount(value['per']) && value['per'] !== 0;
  return value['by'] === 'ratio' || value['by'] === 'input';
}

function isTier(value: unknown): boolean {
  return (
    isRecord(value) && isCount(value['tokens']) && (value['boundary'] === 'gt' || value['boundary'] === 'gte') && isRates(value['rates'])
  );
}

function factsAreSound(value: Readonly<Record<string, unknown>>): boolean {
  const bounds = value['bounds'];
  const stated = [value['holdOutput'], value['maxOutput'], ...(isRecord(bounds) ? Object.values(bounds) : [])];
  return (bounds === undefined || isRecord(bounds)) && stated.every((item) => item === undefined || item === null || isCount(item));
}

const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
const isExact = (value: unknown): boolean => typeof value === 'string' && EXACT.test(value);
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
