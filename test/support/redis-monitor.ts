import { connect } from 'node:net';
import { command } from './redis.js';

/** One command as a server received it. What scripts run inside of it is not among them. */
export interface Received {
  /** Address of the connection that sent it: each process of the product has one. */
  readonly from: string;
  /** Every part, one character a byte. */
  readonly parts: readonly string[];
}

export interface Monitor {
  /** Everything that was received since the last time this was asked. */
  take(): Promise<Received[]>;
  stop(): void;
}

/** Listens to what a server is sent. */
export async function monitor(port: number): Promise<Monitor> {
  const socket = connect(port, '127.0.0.1');
  let heard = '';
  let onData = (): void => undefined;
  socket.setEncoding('latin1').on('data', (text: string) => {
    heard += text;
    onData();
  });
  const until = (has: () => boolean): Promise<void> =>
    new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('the monitor heard nothing')), 20_000);
      onData = () => {
        if (!has()) return;
        clearTimeout(late);
        onData = () => undefined;
        resolve();
      };
      onData();
    });
  socket.write('MONITOR\r\n');
  await until(() => heard.startsWith('+OK\r\n'));
  let marks = 0;
  return {
    take: async () => {
      marks += 1;
      const mark = `"ECHO" "mark ${marks}"\r\n`;
      await command(port, 'ECHO', `mark ${marks}`);
      await until(() => heard.includes(mark));
      const end = heard.indexOf(mark) + mark.length;
      const lines = heard.slice(0, end).split('\r\n');
      heard = heard.slice(end);
      return lines.flatMap((line) => receivedOf(line) ?? []);
    },
    stop: () => socket.destroy(),
  };
}

function receivedOf(line: string): Received | undefined {
  const [, from, rest] = /^\+[\d.]+ \[\d+ (\S+)\] (.*)$/.exec(line) ?? [];
  if (from === undefined || rest === undefined || from === 'lua') return undefined;
  return { from, parts: [...rest.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, part = '']) => unescaped(part)) };
}

const NAMED: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b' };

function unescaped(part: string): string {
  return part.replace(/\\(?:x([0-9a-f]{2})|(.))/g, (_, hex: string | undefined, letter = '') =>
    hex === undefined ? (NAMED[letter] ?? letter) : String.fromCharCode(Number.parseInt(hex, 16)),
  );
}
