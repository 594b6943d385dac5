// `npm run simulate` and `npm run torture`: the programs that anybody can run to see the promises hold.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ROOT, ready } from './install.mjs';

const [name, ...args] = process.argv.slice(2);
ready();
const program = join(ROOT, 'proof', name, 'main.ts');
const ended = spawnSync(process.execPath, ['--import', import.meta.resolve('tsx'), program, ...args], { stdio: 'inherit' });
process.exit(ended.status ?? 1);
