import type { DBAdapter, Where } from 'better-auth';

/** A row as the library sees it. */
type Row = Record<string, unknown>;

/**
 * Keeps the text of a session's cookie out of the database: it is turned into a digest on the way in, and whoever asked
 * by the text gets the text back. A stolen table opens no session.
 */
export function digestedSessions(inner: DBAdapter, digest: (token: string) => string): DBAdapter {
  const hidden = (where: Where[] | undefined): Where[] | undefined =>
    where?.map((one) => (one.field === 'token' ? { ...one, value: digested(one.value) } : one));
  const digested = (value: Where['value']): Where['value'] =>
    Array.isArray(value) ? value.map((one) => digest(String(one))) : digest(String(value));
  const known = (where: Where[] | undefined, row: unknown): unknown => {
    const token = where?.find((one) => one.field === 'token')?.value;
    return typeof token === 'string' && row ? { ...(row as Row), token } : row;
  };
  /** Wraps one way of asking; other models pass through untouched. */
  const asking =
    <Asked extends { model: string; where?: Where[] }, Answer>(ask: (asked: Asked) => Promise<Answer>) =>
    async (asked: Asked): Promise<Answer> => {
      if (asked.model !== 'session') return ask(asked);
      const answer = await ask({ ...asked, where: hidden(asked.where) } as Asked);
      return (Array.isArray(answer) ? answer : known(asked.where, answer)) as Answer;
    };
  const adapter: DBAdapter = {
    ...inner,
    create: (async (made: { model: string; data: Row }) => {
      const token = made.data['token'];
      if (made.model !== 'session' || typeof token !== 'string') return inner.create(made as never);
      const row = await inner.create({ ...made, data: { ...made.data, token: digest(token) } } as never);
      return { ...(row as Row), token };
    }) as DBAdapter['create'],
    findOne: asking(inner.findOne as never) as DBAdapter['findOne'],
    findMany: asking(inner.findMany as never) as DBAdapter['findMany'],
    count: asking(inner.count as never) as DBAdapter['count'],
    update: asking(inner.update as never) as DBAdapter['update'],
    updateMany: asking(inner.updateMany as never) as DBAdapter['updateMany'],
    delete: asking(inner.delete as never) as DBAdapter['delete'],
    deleteMany: asking(inner.deleteMany as never) as DBAdapter['deleteMany'],
    // There are none; what runs "inside" one must still come through here.
    transaction: (work) => work(adapter),
  };
  return adapter;
}
