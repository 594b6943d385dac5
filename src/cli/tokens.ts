import { cells, credits, orgPath, rowsOf, segment, show } from './manage.js';
import type { OptionSpec, Verb } from './verb.js';

const ORG: OptionSpec = { name: 'org', value: 'ID', summary: 'the organization it belongs to', required: true };

export const tokenVerbs: readonly Verb[] = [
  {
    name: 'token create',
    summary: 'Make a token; its secret is printed once, here',
    operands: [],
    options: [
      ORG,
      { name: 'name', value: 'N', summary: 'what it is for', required: true },
      { name: 'quota', value: 'CREDITS', summary: 'the most it may ever spend (default: no quota)' },
    ],
    run: (call) => {
      const quota = call.options.get('quota');
      const body = { name: call.options.get('name'), ...(quota === undefined ? {} : { quota }) };
      return show(call, 'POST', `${orgPath(call)}/tokens`, body, (made) => {
        call.out.line(`${made['id']}`);
        call.out.line(`${made['secret']}`);
        call.out.line('This secret is not shown again.');
      });
    },
  },
  {
    name: 'token list',
    summary: 'List the tokens of an organization',
    operands: [],
    options: [ORG],
    run: (call) =>
      show(call, 'GET', `${orgPath(call)}/tokens?limit=200`, undefined, (page) =>
        call.out.table(
          ['ID', 'NAME', 'STATUS', 'ENDS IN', 'USED', 'QUOTA'],
          rowsOf(page).map((token) => [
            ...cells(token, ['id', 'name', 'status', 'last_four']),
            credits(token['used']),
            credits((token['quota'] as { amount?: unknown } | null)?.amount),
          ]),
        ),
      ),
  },
  change('pause', 'Stop a token for now', { method: 'POST', end: '/pause' }),
  change('resume', 'Let a paused token go on', { method: 'POST', end: '/resume' }),
  change('revoke', 'Revoke a token for ever', { method: 'DELETE', end: '' }),
];

function change(word: string, summary: string, { method, end }: { method: string; end: string }): Verb {
  return {
    name: `token ${word}`,
    summary,
    operands: ['TOKEN'],
    options: [ORG],
    run: (call) =>
      show(call, method, `${orgPath(call)}/tokens/${segment(call.operands[0])}${end}`, undefined, (token) =>
        call.out.line(`${token['id']} is ${token['status']}.`),
      ),
  };
}
