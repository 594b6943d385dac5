import { cells, credits, rowsOf, segment, show } from './manage.js';
import { CliError, EXIT, type Verb, type VerbCall } from './verb.js';

const PATH = '/api/v1/admin/code-batches';

export const codeVerbs: readonly Verb[] = [
  {
    name: 'codes create',
    summary: 'Make redemption codes; they are printed once, here',
    operands: [],
    options: [
      { name: 'credits', value: 'N', summary: 'how much each is worth', required: true },
      { name: 'count', value: 'M', summary: 'how many, up to 10000', required: true },
      { name: 'expires', value: 'DATE', summary: 'until when they work, as 2026-12-31T23:59:59Z' },
      { name: 'name', value: 'TEXT', summary: 'what they are for (default: "codes")' },
    ],
    run: create,
  },
  {
    name: 'codes list',
    summary: 'List batches of codes, newest first',
    operands: [],
    options: [],
    run: (call) =>
      show(call, 'GET', `${PATH}?limit=200`, undefined, (page) =>
        call.out.table(
          ['ID', 'NAME', 'STATUS', 'CREDITS', 'COUNT', 'USED', 'UNUSED', 'EXPIRED'],
          rowsOf(page).map((batch) => [
            ...cells(batch, ['id', 'name', 'status']),
            credits(batch['amount']),
            ...cells(batch, ['count', 'used', 'unused', 'expired']),
          ]),
        ),
      ),
  },
  {
    name: 'codes disable',
    summary: 'Make the unused codes of a batch worthless',
    operands: ['BATCH'],
    options: [],
    run: (call) =>
      show(call, 'POST', `${PATH}/${segment(call.operands[0])}/disable`, undefined, (batch) =>
        call.out.line(`${batch['id']} is disabled; ${batch['used']} of ${batch['count']} codes were used.`),
      ),
  },
];

function create(call: VerbCall): Promise<number> {
  const { options, out } = call;
  const count = options.get('count') ?? '';
  if (!/^\d{1,6}$/.test(count)) throw new CliError(`--count must be a whole number, not "${count.slice(0, 40)}".`, EXIT.usage);
  const expires = options.get('expires');
  const body = {
    name: options.get('name') ?? 'codes',
    credits: options.get('credits'),
    count: Number(count),
    ...(expires === undefined ? {} : { code_valid_until: expires }),
  };
  return show(call, 'POST', PATH, body, (batch) => {
    for (const code of Array.isArray(batch['codes']) ? batch['codes'] : []) out.line(String(code));
  });
}
