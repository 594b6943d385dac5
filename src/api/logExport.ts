import { z } from '@hono/zod-openapi';
import { readOrg } from '../accounts/readOrg.js';
import { tokensWithin } from '../accounts/roles/ownTokens.js';
import { isOrgId } from '../domain/ids.js';
import { exportLogs } from '../usage/exportLogs.js';
import type { NamedLogRow } from '../usage/tokenNames.js';
import { asLongAsAllowed, createAccess } from './access.js';
import type { ApiDeps } from './deps.js';
import { filterOf, isProblem, LogFilters } from './logQuery.js';
import { logOut } from './logShape.js';
import { noSuchOrg } from './orgs.js';
import { idParam, type Route, route, streamed } from './route.js';
import { type Column, csvOf, ndjsonOf, textStream } from './table.js';

/** Every request of a filter as one file, made while it is read. */
export function logExportRoute(deps: ApiDeps): Route {
  const access = createAccess(deps);
  return route({
    method: 'get',
    path: '/api/v1/orgs/{org}/logs/export',
    permission: 'logs.read',
    summary: 'All requests of a filter as CSV or NDJSON',
    tag: 'logs',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
    query: LogFilters.extend({ format: z.enum(['csv', 'ndjson']).default('csv') }),
    answers: { 200: { description: 'The file', schema: z.string(), type: 'text/csv' } },
    handle: async (call) => {
      const { params, query, reach } = call;
      const filter = filterOf(query, await tokensWithin(deps.db, params.org, reach));
      if (isProblem(filter)) return filter;
      const org = await readOrg({ ctx: deps, orgId: params.org });
      if (!org) return noSuchOrg();
      const pages = asLongAsAllowed(access.follow(call), exportLogs({ db: deps.db, orgId: params.org, filter }));
      const name = `logs-${params.org}-${new Date(deps.clock.nowMs()).toISOString().slice(0, 10)}`;
      const file = (ending: string) => ({ 'content-disposition': `attachment; filename="${name}.${ending}"` });
      if (query.format === 'ndjson') return streamed('application/x-ndjson', textStream(ndjsonOf(named(deps, pages))), file('ndjson'));
      return streamed('text/csv; charset=utf-8', textStream(csvOf(columnsOf(deps, org.time_zone), pages)), file('csv'));
    },
  });
}

async function* named(deps: ApiDeps, pages: AsyncIterable<readonly NamedLogRow[]>): AsyncGenerator<readonly object[]> {
  for await (const rows of pages) yield rows.map((row) => logOut(deps, row));
}

function columnsOf(deps: ApiDeps, timeZone: string): readonly Column<NamedLogRow>[] {
  const currency = deps.credits.value?.currency ?? null;
  const money: readonly Column<NamedLogRow>[] =
    currency === null ? [] : [{ name: `cost (${currency})`, of: (row) => logOut(deps, row).charged.money?.amount ?? '' }];
  return [
    { name: 'time (UTC)', of: (row) => new Date(row.ts).toISOString() },
    { name: `time (${timeZone})`, of: localTimes(timeZone) },
    { name: 'request id', of: (row) => row.request_id },
    { name: 'model', of: (row) => row.model },
    { name: 'token id', of: (row) => row.token_id },
    { name: 'token', of: (row) => row.token_name },
    { name: 'project', of: (row) => row.project },
    { name: 'member id', of: (row) => row.owner?.id ?? null },
    { name: 'member', of: (row) => row.owner?.name ?? null },
    { name: 'status', of: (row) => row.status },
    { name: 'input (tokens)', of: (row) => row.input },
    { name: 'cached input (tokens)', of: (row) => row.cached_input },
    { name: 'output (tokens)', of: (row) => row.output },
    { name: 'reasoning (tokens)', of: (row) => row.reasoning },
    { name: 'cost (credits)', of: (row) => logOut(deps, row).charged.credits },
    { name: 'cost (micro-credits)', of: (row) => row.cost },
    ...money,
    { name: 'held (micro-credits)', of: (row) => row.held },
    { name: 'debt', of: (row) => row.debt },
    { name: 'counted by', of: (row) => row.source },
    { name: 'price version', of: (row) => row.price_version },
    { name: 'endpoint', of: (row) => row.endpoint },
    { name: 'upstream', of: (row) => row.upstream },
    { name: 'served model', of: (row) => row.served_model },
    { name: 'HTTP status', of: (row) => row.http_status },
    { name: 'stream', of: (row) => row.stream },
    { name: 'latency (ms)', of: (row) => row.latency_ms },
    { name: 'time to first token (ms)', of: (row) => row.ttft_ms },
    { name: 'agent', of: (row) => row.agent },
    { name: 'conversation', of: (row) => row.conversation },
    { name: 'end user', of: (row) => row.end_user },
    { name: 'finish reason', of: (row) => row.finish_reason },
    { name: 'client request id', of: (row) => row.client_request_id },
    { name: 'flags', of: (row) => row.flags.join(' ') },
  ];
}

/** "2026-11-20 14:03:11", as the clocks of the organization showed it. */
function localTimes(timeZone: string): Column<NamedLogRow>['of'] {
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' });
  return (row) => format.format(new Date(row.ts));
}
