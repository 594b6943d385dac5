import { matches } from '../domain/patterns.js';
import type { UpstreamSettings } from '../domain/settings.js';

/** One upstream that could serve a request, and the name it knows the model by. */
export interface Candidate<Upstream> {
  readonly upstream: Upstream;
  readonly servedModel: string;
}

const MEMO_MAX = 2_000;

/** Finds who serves a model, in the operator's order. Names come from outside, so the memo is bounded and never an object. */
export function createPicker<Upstream extends { readonly settings: UpstreamSettings }>(
  upstreams: readonly Upstream[],
): (model: string) => readonly Candidate<Upstream>[] {
  const ordered = [...upstreams].sort((a, b) => a.settings.priority - b.settings.priority);
  const memo = new Map<string, readonly Candidate<Upstream>[]>();
  return (model) => {
    const known = memo.get(model);
    if (known) return known;
    const found = ordered.flatMap((upstream) => serve(upstream, model));
    if (memo.size >= MEMO_MAX) memo.clear();
    memo.set(model, found);
    return found;
  };
}

function serve<Upstream extends { readonly settings: UpstreamSettings }>(upstream: Upstream, model: string): Candidate<Upstream>[] {
  const match = upstream.settings.models.find(({ pattern }) => matches(pattern, model));
  return match ? [{ upstream, servedModel: match.as ?? model }] : [];
}
