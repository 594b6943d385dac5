import { AsyncLocalStorage } from 'node:async_hooks';
import type { DBAdapter, Where } from 'better-auth';

/** A row as the library sees it. */
type Row = Record<string, unknown>;
type Join = Readonly<Record<string, unknown>>;

interface Asked {
  readonly model: string;
  readonly where?: Where[];
  readonly join?: Join;
}

type Ask = (asked: Asked) => Promise<unknown>;

/** What broke underneath while the library was at work; it says no where the database was away. */
interface Trouble {
  error?: unknown;
}
const troubles = new AsyncLocalStorage<Trouble>();

/** Runs a question to the library, and says what broke underneath, whatever the library made of it. */
export async function watched<T>(
  question: () => Promise<T>,
): Promise<{ readonly outcome: PromiseSettledResult<T>; readonly trouble: unknown }> {
  const trouble: Trouble = {};
  const [outcome] = await troubles.run(trouble, () => Promise.allSettled([question()]));
  return { outcome, trouble: trouble.error };
}

/**
 * Between the library and its adapter. The text of a session's cookie becomes a digest on the way in, and whoever asked
 * by the text gets the text back: a stolen table opens no session. Rows that belong together are asked for one after the
 * other here, because the library prints whatever goes wrong when it does so itself.
 */
export function guardedAdapter(inner: DBAdapter, digest: (token: string) => string): DBAdapter {
  const hidden = (value: Where['value']): Where['value'] =>
    Array.isArray(value) ? value.map((one) => digest(String(one))) : digest(String(value));
  const hide = ({ model, where, ...rest }: Asked): Asked => ({
    ...rest,
    model,
    ...(where
      ? { where: where.map((one) => (model === 'session' && one.field === 'token' ? { ...one, value: hidden(one.value) } : one)) }
      : {}),
  });
  const through = (ask: unknown, show: (row: Row, asked: Asked) => Promise<Row> | Row): Ask => {
    return async ({ join, ...asked }) => {
      try {
        const found = await (ask as Ask)(hide(asked));
        if (Array.isArray(found)) return await Promise.all(found.map((row: Row) => show(row, { ...asked, ...(join ? { join } : {}) })));
        return found && typeof found === 'object' ? await show(found as Row, { ...asked, ...(join ? { join } : {}) }) : found;
      } catch (error) {
        throw noted(error);
      }
    };
  };
  const plain = (ask: unknown): Ask => through(ask, (row, asked) => shown(row, asked));
  const withOthers = (ask: unknown): Ask => through(ask, async (row, asked) => joined(inner, shown(row, asked), asked.join));
  const adapter = {
    ...inner,
    create: async (made: { model: string; data: Row }) => {
      const token = made.model === 'session' ? made.data['token'] : undefined;
      const data = typeof token === 'string' ? { ...made.data, token: digest(token) } : made.data;
      const row = await inner.create({ ...made, data } as never).catch((error: unknown) => Promise.reject(noted(error)));
      return typeof token === 'string' ? { ...(row as Row), token } : row;
    },
    findOne: withOthers(inner.findOne),
    findMany: withOthers(inner.findMany),
    count: plain(inner.count),
    update: plain(inner.update),
    updateMany: plain(inner.updateMany),
    delete: plain(inner.delete),
    deleteMany: plain(inner.deleteMany),
    consumeOne: plain(inner.consumeOne),
    incrementOne: plain(inner.incrementOne),
    // There are none; what runs "inside" one must still come through here.
    transaction: (work: (trx: DBAdapter) => Promise<unknown>) => work(adapter),
  } as unknown as DBAdapter;
  return adapter;
}

/** The text that was asked by, in place of its digest. */
function shown(row: Row, { model, where }: Asked): Row {
  const token = model === 'session' ? where?.find((one) => one.field === 'token')?.value : undefined;
  return typeof token === 'string' ? { ...row, token } : row;
}

/** A session or login with its person, or a person with all logins. */
async function joined(inner: DBAdapter, row: Row, join: Join | undefined): Promise<Row> {
  const others: Row = {};
  if (join?.['user']) others['user'] = await inner.findOne({ model: 'user', where: [{ field: 'id', value: String(row['userId']) }] });
  if (join?.['account'])
    others['account'] = await inner.findMany({ model: 'account', where: [{ field: 'userId', value: String(row['id']) }] });
  return { ...row, ...others };
}

/** Drizzle hangs the statement on its errors; ours underneath says what happened and nothing else. */
function noted(error: unknown): unknown {
  const bare = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const trouble = troubles.getStore();
  if (trouble) trouble.error ??= bare;
  return bare;
}
