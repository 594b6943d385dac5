import type { IncomingHttpHeaders } from 'node:http';

export type FailureKind = 'connect' | 'timeout_connect' | 'timeout_first_byte' | 'timeout_idle' | 'reset' | 'aborted' | 'bad_response';

export interface Failure {
  readonly kind: FailureKind;
  /** False only when nothing can have reached the upstream. */
  readonly sent: boolean;
  /** For our log; never for the client. */
  readonly detail: string;
}

/** Where a call's answer goes. Exactly one of `onEnd` and `onFailure` is called, once, last. */
export interface Sink {
  onHead(status: number, headers: IncomingHttpHeaders): void;
  /** False asks the upstream to wait until `resume`. */
  onData(chunk: Buffer): boolean;
  onEnd(): void;
  onFailure(failure: Failure): void;
}

/** A request on its way. */
export interface Call {
  abort(reason: string): void;
  resume(): void;
}

export interface ForwardRequest {
  readonly path: string;
  readonly method: 'POST' | 'GET';
  readonly body: Buffer | null;
  /** Allow-listed headers of the client, flat. */
  readonly headers: readonly string[];
}
