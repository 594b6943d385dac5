/** The encodings tokens are counted in. Names newer than this list are counted as o200k. */
export type EncodingName = 'o200k_base' | 'cl100k_base' | 'p50k_base' | 'r50k_base';

export function encodingOf(model: string): EncodingName {
  const name = model.startsWith('ft:') ? model.slice(3) : model;
  return PREFIXES.find(([prefix]) => name.startsWith(prefix))?.[1] ?? 'o200k_base';
}

/** First match wins, so longer names stand before the families they belong to. */
const PREFIXES: readonly (readonly [string, EncodingName])[] = [
  ['gpt-4o', 'o200k_base'],
  ['gpt-4.', 'o200k_base'],
  ['gpt-4', 'cl100k_base'],
  ['gpt-3.5', 'cl100k_base'],
  ['gpt-35', 'cl100k_base'],
  ['text-embedding-', 'cl100k_base'],
  ['davinci-002', 'cl100k_base'],
  ['babbage-002', 'cl100k_base'],
  ['text-davinci-002', 'p50k_base'],
  ['text-davinci-003', 'p50k_base'],
  ['code-', 'p50k_base'],
  ['text-', 'r50k_base'],
  ['davinci', 'r50k_base'],
  ['curie', 'r50k_base'],
  ['babbage', 'r50k_base'],
  ['ada', 'r50k_base'],
];
