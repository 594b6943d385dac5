/** The `TokenState` of the rows `t` of tokens and `u` of token_use (or none of those yet). A window that has ended counts as 0. */
export function tokenState(now: string): string {
  const atQuota = ['daily', 'weekly', 'monthly'].map(
    (window) => `case when u.${window}_ends_at > ${now} then u.${window} else 0 end >= t.quota_${window}`,
  );
  return `case when t.status <> 'active' then t.status when t.expires_at <= ${now} then 'expired'
    when coalesce(u.total, 0) >= t.quota_total or ${atQuota.join(' or ')} then 'quota_used' else 'active' end`;
}
