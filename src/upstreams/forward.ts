import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import { begins, isShareUsed, later } from './breath.js';
import { type Decoder, decoderFor } from './decode.js';
import { answerDemo } from './demo.js';
import type { Call, Failure, FailureKind, ForwardRequest, Sink } from './sink.js';
import type { Upstream } from './upstreams.js';

export type { Call, Failure, Sink } from './sink.js';

/** Sends one request to one upstream and streams the answer, byte for byte, into the sink. */
export function forward(upstream: Upstream, request: ForwardRequest, sink: Sink): Call {
  if (!upstream.pool) return answerDemo(request, sink);
  const call = new Forwarding(upstream, sink);
  upstream.inFlight += 1;
  upstream.pool.dispatch(
    {
      path: upstream.basePath + request.path,
      method: request.method,
      headers: request.headers.length ? upstream.headers.concat(request.headers) : (upstream.headers as string[]),
      body: request.body,
    },
    call,
  );
  return call;
}

class Forwarding implements Dispatcher.DispatchHandler, Call {
  private controller: Dispatcher.DispatchController | null = null;
  private decoder: Decoder | null = null;
  private abortReason: string | null = null;
  private over = false;
  /** Its reader asked it to wait. */
  private isFull = false;
  private isBreathing = false;
  private readonly upstream: Upstream;
  private readonly sink: Sink;

  constructor(upstream: Upstream, sink: Sink) {
    this.upstream = upstream;
    this.sink = sink;
  }

  abort(reason: string): void {
    if (this.over || this.abortReason) return;
    this.abortReason = reason;
    if (this.controller) this.controller.abort(new Error(reason));
    else this.fail({ kind: 'aborted', sent: false, detail: reason });
  }

  resume(): void {
    this.isFull = false;
    if (this.decoder) this.decoder.resume();
    else if (!this.isBreathing) this.controller?.resume();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller;
    if (this.abortReason) controller.abort(new Error(this.abortReason));
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (this.over || status < 200) return;
    const encoding = headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity') {
      this.decoder = decoderFor(encoding, {
        onData: (chunk) => this.sink.onData(chunk),
        onEnd: () => this.end(),
        onError: (detail) => this.broken(detail),
      });
      if (!this.decoder) {
        this.broken(`content-encoding ${String(encoding).slice(0, 40)}`);
        return;
      }
    }
    this.sink.onHead(status, headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    // Nothing comes when the dispatcher goes on after a pause; whoever paused again for that would do so for ever.
    if (this.over || chunk.length === 0) return;
    if (this.decoder) {
      if (!this.decoder.write(chunk, () => controller.resume())) controller.pause();
      return;
    }
    const isLarge = begins(chunk.length);
    this.isFull = !this.sink.onData(chunk);
    if (this.isFull) controller.pause();
    // Also when its reader is full: that may be over before this turn is.
    if (isLarge && isShareUsed() && !this.over) this.breathe(controller);
  }

  /** The rest comes in a later turn, unless its reader is full by then. */
  private breathe(controller: Dispatcher.DispatchController): void {
    this.isBreathing = true;
    controller.pause();
    later(() => {
      this.isBreathing = false;
      if (!this.isFull && !this.over) controller.resume();
    });
  }

  onResponseEnd(): void {
    if (this.decoder) this.decoder.end();
    else this.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail(this.abortReason ? { kind: 'aborted', sent: true, detail: this.abortReason } : classify(error, this.controller !== null));
  }

  private broken(detail: string): void {
    this.fail({ kind: 'bad_response', sent: true, detail });
    this.controller?.abort(new Error('bad response'));
  }

  private end(): void {
    if (this.over) return;
    this.close();
    this.sink.onEnd();
  }

  private fail(failure: Failure): void {
    if (this.over) return;
    this.close();
    this.sink.onFailure(failure);
  }

  private close(): void {
    this.over = true;
    this.upstream.inFlight -= 1;
    this.decoder?.destroy(); // it works in a thread, and would go on telling a sink that was told the end
  }
}

const KINDS = new Map<string, FailureKind>([
  ['UND_ERR_CONNECT_TIMEOUT', 'timeout_connect'],
  ['UND_ERR_HEADERS_TIMEOUT', 'timeout_first_byte'],
  ['UND_ERR_BODY_TIMEOUT', 'timeout_idle'],
  ['UND_ERR_SOCKET', 'reset'],
  ['ECONNRESET', 'reset'],
  ['EPIPE', 'reset'],
  ['HPE_INVALID_CONSTANT', 'bad_response'],
  ['UND_ERR_HEADERS_OVERFLOW', 'bad_response'],
  ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'reset'],
]);

function classify(error: Error, started: boolean): Failure {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const kind = KINDS.get(code) ?? (code.startsWith('HPE_') ? 'bad_response' : started ? 'reset' : 'connect');
  return { kind, sent: started, detail: `${code || error.name}: ${error.message}`.slice(0, 300) };
}
