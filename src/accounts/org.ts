/** An organization as the verbs answer it; amounts are micro-credits. */
export interface Org {
  readonly org_id: string;
  readonly name: string;
  readonly kind: 'personal' | 'team';
  readonly status: 'active' | 'suspended';
  readonly overdraft: number;
  readonly monthly_limit: number | null;
  readonly limit_action: 'block_all' | 'pause_noncritical';
  readonly critical_ceiling: number | null;
  readonly price_group: string;
  readonly prices: Readonly<Record<string, unknown>> | null;
  readonly time_zone: string;
  /** What a quota of a token may be at most, for whoever does not manage the organization. */
  readonly max_token_quota: number | null;
  /** Its members are out; set back when an operator makes it active again. */
  readonly closed_at: string | null;
  readonly created_at: string;
  readonly updated_at: string;
  readonly etag: string;
}

/** What may be changed about an organization; names are those of the columns. */
export type OrgChanges = Partial<
  Pick<
    Org,
    | 'name'
    | 'status'
    | 'overdraft'
    | 'monthly_limit'
    | 'limit_action'
    | 'critical_ceiling'
    | 'price_group'
    | 'prices'
    | 'time_zone'
    | 'max_token_quota'
  >
>;

/** The row `o` of organizations as JSON, with its ETag: terms carry a version, the name does not. */
export const ORG_VIEW = `
  to_jsonb(o) || jsonb_build_object('etag', concat(o.terms_version, '-', left(md5(o.name), 8)))`;
