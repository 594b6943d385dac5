import { createBrotliDecompress, createGunzip, createInflate, type Gunzip } from 'node:zlib';

/** Undoes a content-encoding that an upstream used although we asked for none. */
export interface Decoder {
  /** False asks for a pause; `resume` is called when more may come. */
  write(chunk: Buffer, resume: () => void): boolean;
  end(): void;
  /** The reader asked for a pause by answering false, and is ready again. */
  resume(): void;
  /** Nobody waits for the rest: nothing comes out any more. */
  destroy(): void;
}

export interface Decoded {
  onData(chunk: Buffer): boolean;
  onEnd(): void;
  onError(detail: string): void;
}

/** Nothing we relay is larger. */
const OUTPUT_BYTES_MAX = 128 * 1024 * 1024;
/** 329 bytes of brotli can become 200 MB. What is longer than any answer and as good as nothing when packed is none. */
const RATIO_MAX = 200;
const ANY_RATIO_BYTES = 16 * 1024 * 1024;

/** Null when the encoding is unknown or stacked. */
export function decoderFor(encoding: string, out: Decoded): Decoder | null {
  const stream = open(encoding.trim().toLowerCase());
  if (!stream) return null;
  let given = 0;
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > OUTPUT_BYTES_MAX || (bytes > ANY_RATIO_BYTES && bytes > given * RATIO_MAX)) {
      stream.destroy(new Error('decoded answer is too large'));
      return;
    }
    if (!out.onData(chunk)) stream.pause();
  });
  stream.on('end', () => out.onEnd());
  stream.on('error', (error: Error) => out.onError(`content-encoding ${encoding}: ${error.message}`.slice(0, 200)));
  return {
    write: (chunk, resume) => {
      given += chunk.length;
      const more = stream.write(chunk);
      if (!more) stream.once('drain', resume);
      return more;
    },
    end: () => {
      stream.end();
    },
    resume: () => {
      stream.resume();
    },
    destroy: () => {
      stream.removeAllListeners('data');
      stream.destroy();
    },
  };
}

function open(
  encoding: string,
): Pick<Gunzip, 'on' | 'once' | 'write' | 'end' | 'destroy' | 'pause' | 'resume' | 'removeAllListeners'> | null {
  switch (encoding) {
    case 'gzip':
    case 'x-gzip':
      return createGunzip();
    case 'deflate':
      return createInflate();
    case 'br':
      return createBrotliDecompress();
    default:
      return null;
  }
}
