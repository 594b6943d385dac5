/** What every answer that is no page carries, whoever writes it: a browser shown one does nothing with it. */
export const SEALED: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
};

/** Two years, as browsers ask for. Only where the operator's own address says https, for this host alone. */
export const STRICT_TRANSPORT = 'max-age=63072000';
