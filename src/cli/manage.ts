import { runningServer } from './server.js';
import { EXIT, type OptionSpec, type Verb, type VerbCall } from './verb.js';

const ORG: OptionSpec = { name: 'org', value: 'ID', summary: 'the organization', required: true };

/** Everything that talks to the running server. */
export const manageVerbs: readonly Verb[] = [
  {
    name: 'org create',
    summary: 'Make an organization; it starts with 0 credits',
    operands: ['NAME'],
    options: [],
    run: (call) => show(call, 'POST', '/api/v1/admin/orgs', { name: call.operands[0] }, (org) => call.out.line(String(org['id']))),
  },
  {
    name: 'org list',
    summary: 'List organizations, newest first',
    operands: [],
    options: [],
    run: (call) =>
      show(call, 'GET', '/api/v1/admin/orgs?limit=200', undefined, (page) =>
        call.out.table(
          ['ID', 'NAME', 'STATUS', 'CREATED'],
          rowsOf(page).map((org) => cells(org, ['id', 'name', 'status', 'created_at'])),
        ),
      ),
  },
  {
    name: 'grant',
    summary: 'Add credits to an organization',
    operands: [],
    options: [
      ORG,
      { name: 'credits', value: 'N', summary: 'how many, with at most six decimals', required: true },
      { name: 'reason', value: 'TEXT', summary: 'why, for the audit log', required: true },
      { name: 'expires', value: 'DATE', summary: 'when what is left of them ends, as 2026-12-31T23:59:59Z' },
      { name: 'category', value: 'paid|promo', summary: 'sold outside, or given (default: paid)' },
    ],
    run: grant,
  },
  {
    name: 'deduct',
    summary: 'Take credits back from an organization, at most what is free',
    operands: [],
    options: [
      ORG,
      { name: 'credits', value: 'N', summary: 'how many, with at most six decimals', required: true },
      { name: 'reason', value: 'TEXT', summary: 'why, for the audit log', required: true },
      { name: 'grant', value: 'ID', summary: 'take from this grant alone' },
    ],
    run: deduct,
  },
  {
    name: 'balance',
    summary: 'Show what an organization has',
    operands: [],
    options: [ORG],
    run: (call) => show(call, 'GET', `${orgPath(call)}/balance`, undefined, (balance) => printBalance(call, balance)),
  },
  {
    name: 'logs',
    summary: 'Show the latest settled requests of an organization',
    operands: [],
    options: [ORG, { name: 'limit', value: 'N', summary: 'how many, up to 200 (default 50)' }],
    run: logs,
  },
];

async function grant(call: VerbCall): Promise<number> {
  const { options } = call;
  const [expires, category] = [options.get('expires'), options.get('category')];
  const body = {
    credits: options.get('credits'),
    reason: options.get('reason'),
    ...(expires === undefined ? {} : { expires_at: expires }),
    ...(category === undefined ? {} : { category }),
  };
  const path = `/api/v1/admin/orgs/${segment(options.get('org'))}/grants`;
  return show(call, 'POST', path, body, (made) =>
    call.out.line(`Granted ${credits(made['amount'])} credits; available now: ${credits(made['available'])}.`),
  );
}

async function deduct(call: VerbCall): Promise<number> {
  const { options } = call;
  const grantId = options.get('grant');
  const body = { credits: options.get('credits'), reason: options.get('reason'), ...(grantId === undefined ? {} : { grant_id: grantId }) };
  return show(call, 'POST', `/api/v1/admin/orgs/${segment(options.get('org'))}/deductions`, body, (made) =>
    call.out.line(`Took back ${credits(made['amount'])} credits; available now: ${credits(made['available'])}.`),
  );
}

function logs(call: VerbCall): Promise<number> {
  const limit = call.options.get('limit') ?? '50';
  return show(call, 'GET', `${orgPath(call)}/logs?limit=${encodeURIComponent(limit)}`, undefined, (page) => {
    const rows = rowsOf(page);
    if (rows.length === 0) return call.out.line('No settled requests yet.');
    call.out.table(
      ['TIME', 'MODEL', 'STATUS', 'INPUT', 'OUTPUT', 'CREDITS', 'REQUEST'],
      rows.map((row) => {
        const usage = (row['usage'] ?? {}) as Record<string, unknown>;
        return [row['time'], row['model'], row['status'], usage['input'], usage['output'], credits(row['charged']), row['request_id']].map(
          String,
        );
      }),
    );
  });
}

function printBalance({ out }: VerbCall, balance: Record<string, unknown>): void {
  const names = ['available', 'in_flight', 'pending', 'settled', 'debt', 'overdraft'];
  out.table(
    ['', 'CREDITS', 'MONEY'],
    names.map((name) => [name.replace('_', ' '), credits(balance[name]), money(balance[name])]),
  );
  if (balance['live'] === false) out.line('The credit store does not answer: running requests are not in these figures.');
}

type Show = (answer: Record<string, unknown>) => void;

/** One call, printed as it came or as people read it. */
export async function show(call: VerbCall, method: string, path: string, body: unknown, print: Show): Promise<number> {
  const answer = await runningServer(call).call(method, path, body);
  if (call.isJson) call.out.json(answer);
  else print(answer);
  return EXIT.good;
}

export const rowsOf = (page: Record<string, unknown>): Record<string, unknown>[] => (Array.isArray(page['data']) ? page['data'] : []);

export const cells = (row: Record<string, unknown>, names: readonly string[]): string[] => names.map((name) => String(row[name] ?? '-'));

export const credits = (amount: unknown): string => String((amount as { credits?: unknown } | null)?.credits ?? '-');

function money(amount: unknown): string {
  const value = (amount as { money?: { amount?: unknown; currency?: unknown } | null } | null)?.money;
  return value ? `${value.amount} ${value.currency}` : '-';
}

/** An id inside a path can never become another path. */
export const segment = (text: string | undefined): string => encodeURIComponent(text ?? '');

export const orgPath = (call: VerbCall): string => `/api/v1/orgs/${segment(call.options.get('org'))}`;
