import { describeFinding } from '../config/finding.js';
import { loadConfig } from '../config/load.js';
import { formatCredits } from '../domain/credits.js';
import type { PriceSource } from '../domain/prices.js';
import { buildBook, type PriceBook } from '../pricing/book.js';
import { differences, type PriceChange, type WorkedExample, workedExamples } from '../pricing/worked.js';
import { runningServer } from './server.js';
import { CliError, EXIT, type Verb, type VerbCall } from './verb.js';

export const pricesCheck: Verb = {
  name: 'prices check',
  summary: 'Print what typical requests cost under a configuration, and what it would change',
  operands: ['F?'],
  options: [{ name: 'data', value: 'DIR', summary: "the running server's data folder, for its operator key" }],
  notes: ['Compared with the prices in force when a server answers at FAREBOX_URL; nothing is applied.'],
  run: checkPrices,
};

async function checkPrices(call: VerbCall): Promise<number> {
  const [file] = call.operands;
  const loaded = loadConfig({ env: call.env, ...(file === undefined ? {} : { file }) });
  if (!loaded.ok) {
    for (const finding of loaded.findings) call.out.error(describeFinding(finding, loaded.file));
    return EXIT.failed;
  }
  const book = buildBook(loaded.prices);
  const compared = await compare(call, book);
  if (call.isJson) call.out.json({ version: book.version, models: workedExamples(book), ...compared });
  else {
    call.out.table(
      ['MODEL', 'FROM', 'CREDITS FOR 1K IN + 1K OUT', 'WITH 80% CACHED'],
      workedExamples(book).map((one) => [one.model, one.origin, ...costsOf(one)]),
    );
    call.out.line(`Version ${book.version}. Also counted where it has a price: one request, one image, one minute, 1,000 characters.`);
    printComparison(call, compared);
  }
  return EXIT.good;
}

interface Comparison {
  /** Null when nobody could be asked; `not_compared` says why. */
  readonly in_force: string | null;
  readonly changes: readonly PriceChange[];
  readonly not_compared: string | null;
}

/** The server says which prices are in force; what changes is worked out here, so that `${NAME}` in the file has its value. */
async function compare(call: VerbCall, book: PriceBook): Promise<Comparison> {
  try {
    const server = runningServer(call);
    const version = String((await server.call('GET', '/api/v1/admin/prices'))['version']);
    if (version === book.version) return { in_force: version, changes: [], not_compared: null };
    const { source } = await server.call('GET', `/api/v1/admin/prices/versions/${version}`);
    const running = buildBook(source as PriceSource);
    const isWhole = running.version === version;
    return isWhole
      ? { in_force: version, changes: differences(running, book), not_compared: null }
      : { in_force: version, changes: [], not_compared: 'The server has other default prices than this installation.' };
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return { in_force: null, changes: [], not_compared: error.message };
  }
}

function printComparison(call: VerbCall, { in_force, changes, not_compared }: Comparison): void {
  const { out } = call;
  if (not_compared !== null) out.line(`Not compared with the prices in force. ${not_compared}`);
  else if (changes.length === 0) out.line(`No model costs anything else than in the version in force, ${in_force}.`);
  else out.line(`Compared with the version in force, ${in_force}:`);
  if (changes.length === 0) return;
  out.table(
    ['MODEL', 'CHANGE', 'BEFORE', 'AFTER', 'CACHED BEFORE', 'CACHED AFTER'],
    changes.map(({ model, kind, before, after }) => {
      const [[was, wasCached], [is, isCached]] = [costsOf(before), costsOf(after)];
      return [model, kind, was, is, wasCached, isCached];
    }),
  );
}

function costsOf(one: WorkedExample | null): readonly [string, string] {
  if (one === null) return ['-', '-'];
  return one.free ? ['free', 'free'] : [formatCredits(one.typical), formatCredits(one.cached)];
}
