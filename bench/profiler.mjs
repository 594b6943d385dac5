// Preloaded by `npm run bench -- --profile`: SIGUSR2 starts the profiler of this process, the next one writes the file.
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { join } from 'node:path';

const session = new Session();
let running = false;

process.on('SIGUSR2', async () => {
  if (!running) {
    running = true;
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.start');
    return;
  }
  const { profile } = await session.post('Profiler.stop');
  session.disconnect();
  running = false;
  writeFileSync(join(process.env['BENCH_PROFILE'], `${process.pid}.cpuprofile`), JSON.stringify(profile));
});
