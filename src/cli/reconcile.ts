import { describeFinding } from '../config/finding.js';
import { loadConfig } from '../config/load.js';
import { NotReachable, runningServer } from './server.js';
import { CliError, EXIT, type Verb, type VerbCall } from './verb.js';

export interface Books {
  readonly clean: boolean;
  readonly checked: Readonly<Record<string, unknown>>;
  readonly findings: readonly unknown[];
}

/** Recomputes on the given stores, when no server runs; handed in by the entry, which may open stores. */
export type ReconcileDirectly = (urls: { readonly databaseUrl: string; readonly redisUrl: string | null }) => Promise<Books>;

export const reconcileVerb = (directly: ReconcileDirectly): Verb => ({
  name: 'reconcile',
  summary: 'Recompute all books from the ledger entries and compare',
  operands: [],
  options: [],
  notes: [
    'Exits 0 when everything agrees and 1 when something does not. Without a running server it reads DATABASE_URL and REDIS_URL itself.',
  ],
  run: async (call) => {
    const { clean, checked, findings } = await books(call, directly);
    if (call.isJson) call.out.json({ clean, checked, findings });
    else {
      for (const finding of findings) call.out.line(JSON.stringify(finding));
      const counted = Object.entries(checked).map(([what, count]) => `${count} ${what.replaceAll('_', ' ')}`);
      call.out.line(`${clean ? 'Everything agrees' : `${findings.length} findings`}. Checked: ${counted.join(', ') || 'nothing'}.`);
    }
    return clean ? EXIT.good : EXIT.failed;
  },
});

/** The configuration is only read when no server answers: it may name variables that are set where the server runs, not here. */
async function books(call: VerbCall, directly: ReconcileDirectly): Promise<Books> {
  try {
    return (await runningServer(call).call('GET', '/api/v1/admin/reconciliation')) as unknown as Books;
  } catch (error) {
    const urls = error instanceof NotReachable ? configured(call) : null;
    if (!urls) throw error;
    return directly(urls);
  }
}

function configured({ env }: VerbCall): { databaseUrl: string; redisUrl: string | null } | null {
  const loaded = loadConfig({ env });
  if (!loaded.ok) throw new CliError(loaded.findings.map((finding) => describeFinding(finding, loaded.file)).join('\n'), EXIT.failed);
  const { databaseUrl, redisUrl } = loaded.settings;
  return databaseUrl === null ? null : { databaseUrl, redisUrl };
}
