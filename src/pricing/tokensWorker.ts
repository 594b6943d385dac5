import { get_encoding, type Tiktoken } from 'tiktoken';
import type { PartBounds } from '../domain/prices.js';
import { type Counted, type CountedEndpoint, count } from './count.js';
import { type EncodingName, encodingOf } from './encoding.js';
import { piecesOf } from './guard.js';

/** What travels into the worker thread. */
export interface WorkerJob {
  readonly endpoint: CountedEndpoint;
  readonly model: string;
  readonly request: Uint8Array;
  readonly response: Uint8Array;
  readonly stream: boolean;
  readonly bounds: PartBounds;
}

/** Runs in the worker thread only: parsing and encoding hostile text must never hold up the event loop. */
export function run(job: WorkerJob): Counted {
  const encoder = encoderOf(encodingOf(job.model));
  const { endpoint, stream, bounds } = job;
  return count({ endpoint, stream, bounds, request: textOf(job.request), response: textOf(job.response) }, (text) =>
    tokensOf(text, encoder),
  );
}

/** `encode_ordinary`, because the plain one throws on text such as `<|endoftext|>`. */
function tokensOf(text: string, encoder: Tiktoken): number {
  let tokens = 0;
  for (const piece of piecesOf(text)) tokens += encoder.encode_ordinary(piece).length;
  return tokens;
}

const encoders = new Map<EncodingName, Tiktoken>();

function encoderOf(name: EncodingName): Tiktoken {
  const known = encoders.get(name) ?? get_encoding(name);
  encoders.set(name, known);
  return known;
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
