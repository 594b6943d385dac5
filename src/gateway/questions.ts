const BILLING = ['subscription', 'usage', 'credit_grants'];

/** What is not sold here is asked about all the same, by clients that add everything up. */
const KINDS = [
  ...['completions', 'embeddings', 'moderations', 'images', 'audio_speeches', 'audio_transcriptions'],
  ...['vector_stores', 'code_interpreter_sessions', 'file_search_calls', 'web_search_calls'],
];

/** Paths under /v1 that ask about tokens and usage, in the words of other services. The management side knows the answers. */
export const QUESTIONS: ReadonlySet<string> = new Set(
  [
    ...['key', 'auth/key', 'credits', 'generation', 'usage', 'organization/costs'],
    ...BILLING.map((name) => `dashboard/billing/${name}`),
    ...KINDS.map((name) => `organization/usage/${name}`),
  ].map((name) => `/v1/${name}`),
);
