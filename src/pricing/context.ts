import { findProvider } from '@pydantic/genai-prices';
import { isDated } from './book.js';
import { PROVIDERS, patternsOf } from './defaults.js';

/** How many tokens a well-known model reads and writes at most in one request, as its maker says; null = not known. */
export function contextLength(model: string): number | null {
  windows ??= windowsOf();
  const exact = windows.exact.get(model);
  if (exact !== undefined) return exact;
  const dated = windows.dated.find(({ prefix }) => model.startsWith(prefix) && isDated(model.slice(prefix.length), prefix));
  return dated?.tokens ?? null;
}

interface Windows {
  readonly exact: ReadonlyMap<string, number>;
  /** Longest name first. */
  readonly dated: readonly { readonly prefix: string; readonly tokens: number }[];
}

/** Made when somebody asks. */
let windows: Windows | undefined;

function windowsOf(): Windows {
  const all = PROVIDERS.flatMap((providerId) => findProvider({ providerId })?.models ?? []).flatMap((model) => {
    const tokens = model.context_window ?? 0;
    return tokens > 0 ? patternsOf(model).map((pattern) => ({ pattern, tokens })) : [];
  });
  const exact = new Map<string, number>();
  const dated = new Map<string, number>();
  for (const { pattern, tokens } of all) {
    const [map, name] = pattern.endsWith('*') ? [dated, pattern.slice(0, -1)] : [exact, pattern];
    if (!map.has(name)) map.set(name, tokens);
  }
  const byLength = [...dated].map(([prefix, tokens]) => ({ prefix, tokens })).sort((a, b) => b.prefix.length - a.prefix.length);
  return { exact, dated: byLength };
}
