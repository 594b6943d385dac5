// `npm run simulate` and `npm run torture`: the programs that anybody can run to see the promises hold.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ROOT, ready } from './install.mjs';

const [name, ...args] = process.argv.slice(2);
ready();
// What is tried then is what would be shipped now, not what was built some day.
if (args.includes('--built') && spawnSync(process.execPath, [join(ROOT, 'scripts', 'build.mjs')], { stdio: ['ignore', 2, 2] }).status !== 0)
  process.exit(1);
const program = join(ROOT, 'proof', name, 'main.ts');
const node = [process.execPath, '--import', import.meta.resolve('tsx'), program, ...args];
// As many open files as the system allows: crowds and live streams are sockets, at both ends.
const [command = '', ...words] =
  process.platform === 'win32' ? node : ['sh', '-c', 'ulimit -n "$(ulimit -Hn)" 2>/dev/null; exec "$@"', 'sh', ...node];
const ended = spawnSync(command, words, { stdio: 'inherit' });
process.exit(ended.status ?? 1);
