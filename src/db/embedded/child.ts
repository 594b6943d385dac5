import { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';

/** What the child tells its parent. */
export type FromChild = { readonly kind: 'ready' } | { readonly kind: 'failed'; readonly message: string };

// A process of its own: a long query blocks PGlite's thread, and must not block a stream. It ends with its parent.
const [, , dataDir, socketPath] = process.argv;
let server: PGLiteSocketServer | undefined;
let database: PGlite | undefined;

process.on('disconnect', () => void stop(0));
process.on('message', () => void stop(0));
// A signal to the whole group is for the parent, which still has settlements to book; it decides when the database may go.
process.on('SIGTERM', () => undefined);
process.on('SIGINT', () => undefined);

start().catch((error: unknown) => {
  tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
  void stop(1);
});

async function start(): Promise<void> {
  if (!dataDir || !socketPath) throw new Error('the data folder and the socket are not given');
  database = await PGlite.create({ dataDir, username: 'postgres', database: 'postgres' });
  dieWithTheEngine(database);
  server = new PGLiteSocketServer({ db: database, path: socketPath, maxConnections: 8 });
  await server.start();
  tell({ kind: 'ready' });
}

/** When the engine itself throws, its queue stands still for ever; a new process goes on from what was committed. */
function dieWithTheEngine(db: PGlite): void {
  const run = db.execProtocolRawStream.bind(db);
  db.execProtocolRawStream = async (message, options) => {
    try {
      return await run(message, options);
    } catch (error) {
      process.exitCode = 1;
      tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
      setImmediate(() => process.exit(1));
      throw error;
    }
  };
}

let stopping: Promise<void> | undefined;
function stop(code: number): Promise<void> {
  stopping ??= (async () => {
    setTimeout(() => process.exit(code), 5_000).unref();
    await server?.stop().catch(() => undefined);
    await database?.close().catch(() => undefined);
    process.exit(code);
  })();
  return stopping;
}

function tell(message: FromChild): void {
  if (process.connected) process.send?.(message, () => undefined);
}
