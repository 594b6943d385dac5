import { connect, createServer, type Socket } from 'node:net';

export type Protocol = 'redis' | 'postgres' | 'bytes';

/** What happens at the trapped moment. `port` is the local port of the client's side, which tells whose connection it is. */
export interface Trap {
  /** Counted from now: 1 is the next one. For `bytes` it counts bytes of answers. */
  readonly nth: number;
  /** `before`: it never reaches the server. `after`: the server has it, and the reply is never delivered. */
  readonly moment: 'before' | 'after';
  act(port: number): void;
}

export interface FaultProxy {
  readonly port: number;
  /** Commands (or bytes) of the trapped kind that went by. */
  readonly seen: number;
  /** Resolves when the trap has sprung, whose connection is destroyed then; or with false when it was disarmed before. */
  trap(trap: Trap): Promise<boolean>;
  disarm(): void;
  retarget(port: number): void;
  delay(ms: number): void;
  cutAll(): void;
  stop(): Promise<void>;
}

interface Armed extends Trap {
  left: number;
  done(sprung: boolean): void;
}

/**
 * Stands between the product and one of its servers and knows where a command begins, so that a fault can be put exactly
 * between two steps: just before the n-th script call is forwarded, or just after, with its reply swallowed.
 */
export async function startFaultProxy(targetPort: number, protocol: Protocol): Promise<FaultProxy> {
  let target = targetPort;
  let delayMs = 0;
  let seen = 0;
  let armed: Armed | undefined;
  const sockets = new Set<Socket>();
  const spring = (port: number): Armed | undefined => {
    if (!armed || armed.left > 0) return undefined;
    const sprung = armed;
    armed = undefined;
    sprung.act(port);
    sprung.done(true);
    return sprung;
  };
  const listener = createServer({ noDelay: true }, (client) => {
    const server = connect({ port: target, host: '127.0.0.1', noDelay: true });
    const reader = new CommandReader(protocol);
    const from = client.remotePort ?? 0;
    let deaf = false;
    const end = (): void => {
      client.destroy();
      server.destroy();
      sockets.delete(client);
      sockets.delete(server);
    };
    const send = inOrder(() => delayMs);
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on('error', end).on('close', end);
    }
    client.on('data', (bytes: Buffer) => {
      for (const { frame, counts } of reader.read(bytes)) {
        if (counts) {
          seen += 1;
          if (armed) armed.left -= 1;
        }
        const isNow = counts && armed !== undefined && armed.left <= 0;
        if (isNow && armed?.moment === 'before') {
          spring(from);
          end();
          return;
        }
        send(server, frame);
        if (isNow) deaf = true;
      }
    });
    server.on('data', (bytes: Buffer) => {
      if (protocol === 'bytes') {
        seen += bytes.length;
        if (armed) armed.left -= bytes.length;
        const moment = armed?.moment;
        if (armed && armed.left <= 0 && moment === 'before') {
          spring(from);
          end();
          return;
        }
        send(client, bytes);
        if (spring(from)) end();
        return;
      }
      if (!deaf) return send(client, bytes);
      // The server has answered, so it has done what it was told; nobody will hear of it.
      spring(from);
      end();
    });
  });
  await new Promise<void>((go) => listener.listen(0, '127.0.0.1', go));
  const address = listener.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    get seen() {
      return seen;
    },
    trap: (trap) =>
      new Promise((done) => {
        armed = { ...trap, left: trap.nth, act: trap.act, done };
      }),
    disarm: () => {
      armed?.done(false);
      armed = undefined;
    },
    retarget: (port) => {
      target = port;
    },
    delay: (ms) => {
      delayMs = ms;
    },
    cutAll: () => {
      for (const socket of sockets) socket.destroy();
    },
    stop: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((go) => listener.close(() => go()));
    },
  };
}

/** Bytes never overtake others, also when the delay has just become shorter. */
function inOrder(delayMs: () => number): (to: Socket, bytes: Buffer) => void {
  const queues = new Map<Socket, { readonly at: number; readonly bytes: Buffer }[]>();
  const drain = (to: Socket, queue: { readonly at: number; readonly bytes: Buffer }[]): void => {
    for (let next = queue[0]; next && next.at <= Date.now(); next = queue[0]) {
      if (!to.destroyed) to.write(next.bytes);
      queue.shift();
    }
    const [waiting] = queue;
    if (waiting) setTimeout(() => drain(to, queue), Math.max(1, waiting.at - Date.now()));
  };
  return (to, bytes) => {
    const queue = queues.get(to) ?? [];
    queues.set(to, queue);
    if (queue.length === 0 && delayMs() === 0) {
      to.write(bytes);
      return;
    }
    queue.push({ at: Date.now() + delayMs(), bytes });
    if (queue.length === 1) drain(to, queue);
  };
}

interface Command {
  readonly frame: Buffer;
  readonly counts: boolean;
}

/** Cuts what a client sends into whole commands. */
class CommandReader {
  private rest: Buffer = Buffer.alloc(0);
  private isStarted = false;
  private readonly protocol: Protocol;

  constructor(protocol: Protocol) {
    this.protocol = protocol;
  }

  read(bytes: Buffer): Command[] {
    if (this.protocol === 'bytes') return [{ frame: bytes, counts: false }];
    this.rest = this.rest.length > 0 ? Buffer.concat([this.rest, bytes]) : bytes;
    const commands: Command[] = [];
    for (;;) {
      const length = this.protocol === 'redis' ? lengthOfRedis(this.rest) : this.lengthOfPostgres();
      if (length === 0 || length > this.rest.length) return commands;
      const frame = this.rest.subarray(0, length);
      this.rest = this.rest.subarray(length);
      commands.push({ frame, counts: this.counts(frame) });
      this.isStarted = true;
    }
  }

  private counts(frame: Buffer): boolean {
    if (this.protocol === 'redis') return /^\*\d+\r\n\$\d+\r\neval/i.test(frame.toString('latin1', 0, 40));
    return this.isStarted && frame[0] === EXECUTE;
  }

  /** The first message of a connection has no type byte. */
  private lengthOfPostgres(): number {
    const at = this.isStarted ? 1 : 0;
    return this.rest.length < at + 4 ? 0 : at + this.rest.readInt32BE(at);
  }
}

const EXECUTE = 0x45;

/** Length of the array of bulk strings at the start of these bytes; 0 when it is not whole yet. */
function lengthOfRedis(bytes: Buffer): number {
  const line = bytes.indexOf('\r\n');
  if (line < 0) return 0;
  if (bytes[0] !== 0x2a) return line + 2;
  const count = Number(bytes.toString('latin1', 1, line));
  let at = line + 2;
  for (let i = 0; i < count; i++) {
    const end = bytes.indexOf('\r\n', at);
    if (end < 0) return 0;
    at = end + 2 + Number(bytes.toString('latin1', at + 1, end)) + 2;
    if (at > bytes.length) return 0;
  }
  return at;
}
