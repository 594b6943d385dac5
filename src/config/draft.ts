import type { PriceSource } from '../domain/prices.js';
import { openYaml } from './cursor.js';
import type { Finding } from './finding.js';
import { TOP } from './load.js';
import { readPrices } from './prices.js';
import { or, readBoolean } from './scalars.js';
import { readCredits } from './settings.js';

export interface Draft {
  /** Null when there are mistakes. */
  readonly prices: PriceSource | null;
  readonly findings: readonly Finding[];
}

/**
 * Reads the prices of a configuration that is not in force: everything wrong with them, and nothing of this machine. Neither
 * variables nor files are looked up, because whoever sends a draft need not know what is in them.
 */
export function readDraft(text: string): Draft {
  const { root, findings } = openYaml(text, {
    env: {},
    readFile: () => {
      throw new Error('a draft reads no files');
    },
  });
  const at = root.fields(TOP);
  const { credits, base } = readCredits(at.credits);
  const prices = readPrices(
    { base, groups: at.groups, models: at.models, meters: at.meters, defaults: at.default_prices, partBounds: at.part_bounds },
    credits.value,
    or(at.demo, readBoolean, true),
  );
  const said = findings.map((finding) => (finding.found.startsWith('${') ? notLookedUp(finding) : finding));
  const isGood = said.every(({ severity }) => severity !== 'error');
  return { prices: isGood ? prices : null, findings: said.sort((a, b) => a.line - b.line || a.column - b.column) };
}

function notLookedUp(finding: Finding): Finding {
  const [name = ''] = finding.found.split(',');
  return { ...finding, found: name, allowed: 'the value itself', message: `${name} is not looked up for a draft: write the value itself.` };
}
