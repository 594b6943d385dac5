// Preloaded into a server that `npm start` put into a process group of its own: should its starter be killed outright, with
// no chance to pass a signal on, the server ends itself in good order instead of staying behind on its port.
import { isMainThread } from 'node:worker_threads';

const starter = Number(process.env['FAREBOX_STARTER']);
delete process.env['FAREBOX_STARTER']; // children of the server have a parent of their own

if (isMainThread && process.ppid === starter) {
  const watch = setInterval(() => {
    if (process.ppid === starter) return;
    clearInterval(watch);
    process.kill(process.pid, 'SIGTERM');
  }, 500);
  watch.unref();
}
