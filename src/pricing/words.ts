import type { Rates } from '../domain/prices.js';

export type Modality = 'text' | 'image' | 'audio';

/** What a model with these prices works on, and the heading it stands under when nobody states one. */
export interface Words {
  readonly modalities: readonly Modality[];
  readonly heading: string;
}

export function wordsOf(rates: Rates): Words {
  const image = rates.image !== undefined || (rates.custom ?? []).some(({ meter }) => meter.startsWith('image.'));
  const sound = rates.second !== undefined || rates.character !== undefined;
  const audio = sound || rates.audio_input !== undefined || rates.audio_output !== undefined;
  const text = rates.input !== undefined || rates.output !== undefined || rates.character !== undefined || !(image || audio);
  const modalities = [...(text ? ['text' as const] : []), ...(image ? ['image' as const] : []), ...(audio ? ['audio' as const] : [])];
  const reads = rates.input !== undefined && rates.output === undefined;
  return { modalities, heading: image && !text ? 'Images' : sound ? 'Speech' : reads ? 'Embeddings' : 'LLM inference' };
}
