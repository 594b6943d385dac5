import { cells, rowsOf, segment, show } from './manage.js';
import type { Verb } from './verb.js';

const PATH = '/api/v1/admin/set-aside';

/** Charges Postgres would not take. */
export const asideVerbs: readonly Verb[] = [
  {
    name: 'aside list',
    summary: 'List charges that could not be booked and were set aside',
    operands: [],
    options: [],
    notes: ['With --json also the whole event of each.'],
    run: (call) =>
      show(call, 'GET', `${PATH}?limit=200`, undefined, (page) => {
        const rows = rowsOf(page);
        if (rows.length === 0) return call.out.line('Nothing is set aside.');
        call.out.table(
          ['ID', 'SINCE', 'ORGANIZATION', 'REQUEST', 'WHY'],
          rows.map((row) => cells(row, ['id', 'set_aside_at', 'org_id', 'request_id', 'error'])),
        );
      }),
  },
  {
    name: 'aside book',
    summary: 'Book one of them, now that nothing stands in its way',
    operands: ['ID'],
    options: [],
    run: (call) =>
      show(call, 'POST', `${PATH}/${segment(call.operands[0])}/book`, undefined, (row) => call.out.line(`${row['id']} is booked.`)),
  },
  {
    name: 'aside drop',
    summary: 'Give one of them up: nobody pays for it',
    operands: ['ID'],
    options: [{ name: 'reason', value: 'TEXT', summary: 'why, for the audit log', required: true }],
    run: (call) =>
      show(call, 'POST', `${PATH}/${segment(call.operands[0])}/drop`, { reason: call.options.get('reason') }, (row) =>
        call.out.line(`${row['id']} is dropped.`),
      ),
  },
];
