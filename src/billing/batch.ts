/** A batch of codes as the verbs answer it; amounts are micro-credits. */
export interface CodeBatch {
  readonly batch_id: string;
  readonly name: string;
  readonly amount: number;
  readonly codes: number;
  readonly used: number;
  /** Withdrawn one by one. */
  readonly withdrawn: number;
  readonly valid_until: string | null;
  readonly credits_last_s: number | null;
  readonly for_org: string | null;
  readonly for_new: boolean;
  readonly disabled_at: string | null;
  readonly created_by: string;
  readonly created_at: string;
}

export const isBatchId = (text: string): text is string => /^batch_[0-9A-Za-z]{16}$/.test(text);

/** The row `b` of code_batches as JSON. */
export const BATCH_VIEW = `
  to_jsonb(b) || (select jsonb_build_object('used', count(c.used_at), 'withdrawn', count(c.disabled_at)) from codes c where c.batch_id = b.batch_id)`;
