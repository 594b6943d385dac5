// The yardstick: node:http in front, undici's dispatch behind, nothing in between. No auth, no metering, no money.
import { createServer } from 'node:http';
import { Pool } from 'undici';

const pool = new Pool(process.argv[2], { connections: 4_096, pipelining: 1 });

createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const body = parts.length === 1 ? parts[0] : Buffer.concat(parts);
    pool.dispatch({ method: 'POST', path: request.url, body, headers: ['content-type', 'application/json'] }, new Relay(response));
  });
}).listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, function () {
  process.stdout.write(`${JSON.stringify({ port: this.address().port })}\n`);
});

class Relay {
  constructor(response) {
    this.response = response;
  }

  onRequestStart(controller) {
    this.response.on('close', () => controller.aborted || this.response.writableFinished || controller.abort(new Error('the client left')));
    this.response.on('drain', () => controller.resume());
  }

  onResponseStart(_controller, status, headers) {
    const length = headers['content-length'];
    this.response.writeHead(status, { 'content-type': headers['content-type'], ...(length ? { 'content-length': length } : {}) });
  }

  onResponseData(controller, chunk) {
    if (!this.response.write(chunk)) controller.pause();
  }

  onResponseEnd() {
    this.response.end();
  }

  onResponseError() {
    this.response.destroy();
  }
}
