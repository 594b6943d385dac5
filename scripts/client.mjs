// `npm run client`: a typed client for /api/v1 in dist/client/, made from the routes themselves.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { fail, ROOT, ready, say } from './install.mjs';

const built = join(ROOT, 'dist', 'src');
const out = join(ROOT, 'dist', 'client');

/** The document is made without a server: routes are made, and nobody is asked anything. */
const NO_SERVER = { pepper: 'none', clock: { nowMs: () => 0 }, credits: { name: 'credit', value: null }, people: { providers: [] } };

export async function makeClient() {
  const load = (path) => import(pathToFileURL(join(built, path)).href);
  const [{ createApi }, { generate }] = await Promise.all([load('api/app.js'), load('client/generate.js')]);
  const answer = await createApi(NO_SERVER).request('http://localhost/api/v1/openapi.json');
  if (!answer.ok) fail(`The OpenAPI document could not be made: ${await answer.text()}`);
  mkdirSync(out, { recursive: true });
  const options = ['--declaration', '--target', 'es2022', '--module', 'nodenext', '--strict', '--types', '--lib', 'es2023,dom'];
  const tsc = spawnSync(
    join(ROOT, 'node_modules', '.bin', 'tsc'),
    [join('src', 'client', 'client.ts'), '--ignoreConfig', '--rootDir', join('src', 'client'), '--outDir', out, ...options],
    { cwd: ROOT, stdio: 'inherit' },
  );
  if (tsc.status !== 0) fail('The client could not be compiled.');
  writeFileSync(join(out, 'routes.d.ts'), generate(await answer.json()));
  writeFileSync(join(out, 'index.js'), "export { createClient } from './client.js';\n");
  writeFileSync(
    join(out, 'index.d.ts'),
    [
      "import type { Client as Any, ClientOptions } from './client.js';",
      "import type { Routes, Schemas } from './routes.js';",
      "export type { ClientOptions, Problem, Result } from './client.js';",
      'export type { Routes, Schemas };',
      'export type Client = Any<Routes>;',
      'export declare function createClient(options: ClientOptions): Client;',
      '',
    ].join('\n'),
  );
  say('Made dist/client/: import { createClient } from "farebox/client".');
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  ready();
  if (!existsSync(join(built, 'client', 'generate.js'))) {
    // The build makes the client itself.
    const build = spawnSync(process.execPath, [join(ROOT, 'scripts', 'build.mjs')], { cwd: ROOT, stdio: 'inherit' });
    process.exit(build.status ?? 1);
  }
  await makeClient();
}
