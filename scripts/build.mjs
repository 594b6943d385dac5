// `npm run build`: JavaScript in dist/, with everything that is not TypeScript copied beside it.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { makeClient } from './client.mjs';
import { fail, ROOT, ready, say } from './install.mjs';

const COPIED = /\.(?:lua|sql|json|yaml|html|css|js|svg|png|ico|woff2)$/;
const dist = join(ROOT, 'dist');

ready();
rmSync(dist, { recursive: true, force: true });
const tsc = spawnSync(join(ROOT, 'node_modules', '.bin', 'tsc'), ['-p', 'tsconfig.build.json'], { cwd: ROOT, stdio: 'inherit' });
if (tsc.status !== 0) fail('The types are wrong; nothing was built.');
copyBeside(join(ROOT, 'src'));
for (const name of ['migrations', 'config.example.yaml']) {
  if (existsSync(join(ROOT, name))) cpSync(join(ROOT, name), join(dist, name), { recursive: true });
}
// dist/ says for itself that it is ESM, and its version, wherever it is copied.
const { name, version, license } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
writeFileSync(join(dist, 'package.json'), `${JSON.stringify({ name, version, license, type: 'module', private: true }, null, 2)}\n`);
makeProgram(join(dist, 'src', 'cli.js'));
await makeClient();
say('Built dist/. Try: node dist/src/cli.js --help');

function copyBeside(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) copyBeside(path);
    else if (COPIED.test(entry.name)) cpSync(path, join(dist, relative(ROOT, path)));
  }
}

function makeProgram(path) {
  if (!existsSync(path)) return fail(`${relative(ROOT, path)} was not built.`);
  const text = readFileSync(path, 'utf8');
  if (!text.startsWith('#!')) writeFileSync(path, `#!/usr/bin/env node\n${text}`);
  chmodSync(path, 0o755);
}
