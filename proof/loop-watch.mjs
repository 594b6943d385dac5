// Preloaded where a proof says so: writes down each turn of the event loop that took the processor for long. Time of the processor, of
// this thread alone: what else the machine does makes a turn later, not longer.
import { appendFileSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';

const NOTED_MS = 10;
const folder = process.env['LOOP_WATCH'];

if (isMainThread && folder) {
  // The kernel's own count for this thread, in nanoseconds.
  const file = openSync(`/proc/self/task/${process.pid}/schedstat`, 'r');
  const bytes = Buffer.alloc(64);
  const busyMs = () => Number.parseInt(bytes.latin1Slice(0, readSync(file, bytes, 0, 64, 0)), 10) / 1e6;
  let [busy, at] = [busyMs(), performance.now()];
  setInterval(() => {
    const [busyNow, now] = [busyMs(), performance.now()];
    if (busyNow - busy >= NOTED_MS) {
      appendFileSync(join(folder, String(process.pid)), `${Math.round((busyNow - busy) * 10) / 10} ${Math.round(now - at)}\n`);
    }
    [busy, at] = [busyNow, now];
  }, 1).unref();
}
