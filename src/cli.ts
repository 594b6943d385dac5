#!/usr/bin/env node
import { createPrinter } from './cli/printer.js';
import type { ReconcileDirectly } from './cli/reconcile.js';
import { runCli } from './cli/run.js';
import { version } from './version.js';

/** Opens the stores that a server would use, compares, and closes them. Without Redis only the books are compared. */
const reconcileDirectly: ReconcileDirectly = async ({ databaseUrl, redisUrl }) => {
  const [{ openDatabase }, { reconcile }, { createRedisStore }] = await Promise.all([
    import('./db/client.js'),
    import('./ledger/reconcile.js'),
    import('./credits/redis/store.js'),
  ]);
  const db = openDatabase({ url: databaseUrl, max: 2, name: 'farebox reconcile' });
  const store = redisUrl === null ? null : createRedisStore({ url: redisUrl });
  try {
    return await reconcile({ db, ...(store ? { store } : {}) });
  } finally {
    await Promise.allSettled([store?.close(), db.close()]);
  }
};

// `farebox logs | head` closes the pipe early, which is no reason to complain.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

const code = await runCli(process.argv.slice(2), {
  env: process.env,
  out: createPrinter(),
  version: version(),
  reconcile: reconcileDirectly,
  start: async (options) => (await import('./main.js')).startServer(options),
});
if (process.argv[2] === 'start') process.exit(code); // whatever a stopped server left open must not keep it alive
process.exitCode = code;
