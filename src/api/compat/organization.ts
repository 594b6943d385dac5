import { decide } from '../../accounts/actor.js';
import { identifyKey } from '../../accounts/keys/identifyKey.js';
import { identifyOperator } from '../../accounts/operatorKeys/identifyOperator.js';
import { readOrg } from '../../accounts/readOrg.js';
import { isOrgId } from '../../domain/ids.js';
import type { BucketRow, Extra } from '../../usage/buckets.js';
import type { ApiDeps } from '../deps.js';
import { type CompatError, identify, refusal, secretOf } from './identify.js';
import { type FilterName, type Page, type PageTerms, pageOf, type Scope, type Width } from './page.js';
import { bucketPage, costOut, usageFields } from './shapes.js';

/** What an administrator's client asks OpenAI about an organization, answered with ours. */

interface Kind extends Pick<PageTerms, 'endpoints'> {
  /** In the object of each result. */
  readonly name: string;
  /** What is counted besides requests, and from what. */
  readonly counts: Readonly<Record<string, 'input' | 'output' | 'cached_input' | 'requests' | Extra | 'nothing'>>;
  readonly groups: readonly string[];
}

const BY_MODEL = ['project_id', 'user_id', 'api_key_id', 'model'];

/** What is not sold here has pages too, with nothing in them: a client that adds everything up goes on working. */
const KINDS: Readonly<Record<string, Kind>> = {
  completions: {
    name: 'completions',
    endpoints: ['/chat/completions', '/completions', '/responses'],
    counts: { input_tokens: 'input', output_tokens: 'output', input_cached_tokens: 'cached_input', num_model_requests: 'requests' },
    groups: [...BY_MODEL, 'batch', 'service_tier'],
  },
  embeddings: {
    name: 'embeddings',
    endpoints: ['/embeddings'],
    counts: { input_tokens: 'input', num_model_requests: 'requests' },
    groups: BY_MODEL,
  },
  moderations: {
    name: 'moderations',
    endpoints: ['/moderations'],
    counts: { input_tokens: 'input', num_model_requests: 'requests' },
    groups: BY_MODEL,
  },
  images: {
    name: 'images',
    endpoints: ['/images/generations', '/images/edits', '/images/variations'],
    counts: { images: 'images', num_model_requests: 'requests' },
    groups: [...BY_MODEL, 'size', 'source'],
  },
  audio_speeches: {
    name: 'audio_speeches',
    endpoints: ['/audio/speech'],
    counts: { characters: 'characters', num_model_requests: 'requests' },
    groups: BY_MODEL,
  },
  audio_transcriptions: {
    name: 'audio_transcriptions',
    endpoints: ['/audio/transcriptions', '/audio/translations'],
    counts: { seconds: 'seconds', num_model_requests: 'requests' },
    groups: BY_MODEL,
  },
  vector_stores: { name: 'vector_stores', endpoints: [], counts: { usage_bytes: 'nothing' }, groups: ['project_id'] },
  code_interpreter_sessions: {
    name: 'code_interpreter_sessions',
    endpoints: [],
    counts: { num_sessions: 'nothing' },
    groups: ['project_id'],
  },
  file_search_calls: {
    name: 'file_searches',
    endpoints: [],
    counts: { num_requests: 'nothing' },
    groups: ['project_id', 'user_id', 'api_key_id', 'vector_store_id'],
  },
  web_search_calls: {
    name: 'web_searches',
    endpoints: [],
    counts: { num_requests: 'nothing', num_model_requests: 'nothing' },
    groups: [...BY_MODEL, 'context_level'],
  },
};

const DIMENSIONS: PageTerms['groups'] = {
  project_id: 'project',
  user_id: 'member',
  api_key_id: 'token',
  model: 'model',
  line_item: 'model',
};
const FILTER_OF: Readonly<Record<string, FilterName>> = {
  project_id: 'project_ids',
  user_id: 'user_ids',
  api_key_id: 'api_key_ids',
  model: 'models',
};

/** As OpenAI has them. */
export const WIDTHS: Readonly<Record<Width, { readonly usual: number; readonly most: number }>> = {
  '1m': { usual: 60, most: 1_440 },
  '1h': { usual: 24, most: 168 },
  '1d': { usual: 7, most: 31 },
};

const termsOf = ({ groups, endpoints, counts }: Kind): PageTerms => ({
  widths: WIDTHS,
  groups: Object.fromEntries(groups.map((name) => [name, DIMENSIONS[name] ?? null])),
  filters: groups.flatMap((name) => FILTER_OF[name] ?? []),
  endpoints,
  extras: Object.values(counts).filter((one) => one === 'images' || one === 'seconds' || one === 'characters'),
});

const COST_TERMS: PageTerms = {
  widths: { '1d': { usual: 7, most: 180 } },
  groups: { project_id: 'project', line_item: 'model', api_key_id: 'token' },
  filters: ['project_ids', 'api_key_ids'],
  endpoints: null,
};

export const ORGANIZATION_PATHS: readonly string[] = [
  ...Object.keys(KINDS).map((name) => `/v1/organization/usage/${name}`),
  '/v1/organization/costs',
];

/** One of `ORGANIZATION_PATHS`. */
export async function organizationUsage(deps: ApiDeps, scope: Scope, path: string, query: URLSearchParams): Promise<object> {
  const kind = KINDS[path.slice(path.lastIndexOf('/') + 1)];
  const page = await pageOf(deps, scope, query, kind ? termsOf(kind) : COST_TERMS);
  if ('kind' in page) return page;
  return bucketPage(page, (row) => (kind ? usageResult(kind, page, row) : costResult(deps, page, row)));
}

function usageResult(kind: Kind, page: Page, row: BucketRow): object {
  const counts = Object.entries(kind.counts).map(([name, of]) => [name, of === 'nothing' ? 0 : (row[of] ?? 0)]);
  return {
    object: `organization.usage.${kind.name}.result`,
    ...Object.fromEntries(counts),
    ...usageFields(kind.groups, (name) => page.groupOf(row, name)),
    // Nothing here is a batch, so this is known without looking.
    ...(page.groups.includes('batch') ? { batch: false } : {}),
  };
}

const costResult = (deps: ApiDeps, page: Page, row: BucketRow): object => ({
  object: 'organization.costs.result',
  amount: costOut(deps, row.cost),
  ...usageFields(['line_item', 'project_id', 'api_key_id'], (name) => page.groupOf(row, name)),
  quantity: null,
});

/**
 * Management keys for their organization, the operator key for the one it names, tokens for themselves; for all of their
 * organization only where the operator has said so.
 */
export async function identifyScope(deps: ApiDeps, headers: Headers, address: string | undefined): Promise<Scope | CompatError> {
  const secret = secretOf(headers) ?? '';
  if (secret.startsWith('ok-fb-')) return scopeOfOperator(deps, { secret, headers, address });
  if (secret.startsWith('mk-fb-')) return scopeOfKey(deps, secret);
  const token = await identify(deps, headers, address);
  if ('kind' in token) return token;
  return { orgId: token.org_id, timeZone: token.time_zone, onlyTokens: deps.compat.creditsScope === 'org' ? null : [token.token_id] };
}

async function scopeOfOperator(
  deps: ApiDeps,
  { secret, headers, address }: { readonly secret: string; readonly headers: Headers; readonly address: string | undefined },
): Promise<Scope | CompatError> {
  const found = await identifyOperator(deps, { secret, address, nowMs: deps.clock.nowMs() });
  if (found.kind === 'elsewhere') return refusal(403, 'ip_not_allowed', 'This key may not be used from this address.');
  // Every operator may read the usage of any organization.
  if (found.kind === 'known') return scopeOfOrg(deps, headers.get('openai-organization') ?? headers.get('x-organization'));
  return refusal(401, 'invalid_api_key', 'This key is not known here, or no more. Check that it was copied whole.');
}

async function scopeOfKey(deps: ApiDeps, secret: string): Promise<Scope | CompatError> {
  const found = await identifyKey({ db: deps.db, secret, pepper: deps.pepper, nowMs: deps.clock.nowMs() });
  if (found.kind === 'revoked') return refusal(401, 'key_revoked', 'This management key was revoked. Use another one.');
  if (found.kind === 'expired') return refusal(401, 'key_expired', 'This management key has expired. Use another one.');
  if (found.kind === 'unknown')
    return refusal(401, 'invalid_api_key', 'This management key is not known here. Check that it was copied whole.');
  const { actor } = found;
  if (decide(actor, 'usage.read', actor.orgId).kind !== 'allowed')
    return refusal(403, 'missing_scope', 'This management key needs the scope usage:read.');
  return scopeOfOrg(deps, actor.orgId);
}

async function scopeOfOrg(deps: ApiDeps, orgId: string | null): Promise<Scope | CompatError> {
  if (orgId === null)
    return refusal(400, 'organization_needed', 'The operator key belongs to no organization. Name one in the header OpenAI-Organization.');
  const org = isOrgId(orgId) ? await readOrg({ ctx: deps, orgId }) : undefined;
  if (!org || !isOrgId(orgId)) return refusal(404, 'organization_not_found', 'There is no organization with this id.');
  return { orgId, timeZone: org.time_zone, onlyTokens: null };
}
