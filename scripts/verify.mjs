// `npm run verify`: everything that can be known without a running service, in a few seconds.
import { ready, say } from './install.mjs';
import { report, run, TOOLS } from './steps.mjs';

ready();
const results = await Promise.all(Object.entries(TOOLS).map(([name, command]) => run(name, command)));
const failed = results.filter((result) => !report(result));
say(failed.length === 0 ? 'All good.' : `Failed: ${failed.map((one) => one.name).join(', ')}.`);
process.exit(failed.length === 0 ? 0 : 1);
