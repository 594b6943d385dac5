import { createBrotliDecompress, createGunzip, createInflate, type Gunzip } from 'node:zlib';

/** Undoes a content-encoding that an upstream used although we asked for none. */
export interface Decoder {
  /** False asks for a pause; `resume` is called when more may come. */
  write(chunk: Buffer, resume: () => void): boolean;
  end(): void;
  /** The reader asked for a pause by answering false, and is ready again. */
  resume(): void;
}

export interface Decoded {
  onData(chunk: Buffer): boolean;
  onEnd(): void;
  onError(detail: string): void;
}

/** 329 bytes of brotli can become 200 MB; nothing we relay is that large. */
const OUTPUT_BYTES_MAX = 128 * 1024 * 1024;

/** Null when the encoding is unknown or stacked. */
export function decoderFor(encoding: string, out: Decoded): Decoder | null {
  const stream = open(encoding.trim().toLowerCase());
  if (!stream) return null;
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > OUTPUT_BYTES_MAX) {
      stream.destroy(new Error('decoded answer is too large'));
      return;
    }
    if (!out.onData(chunk)) stream.pause();
  });
  stream.on('end', () => out.onEnd());
  stream.on('error', (error: Error) => out.onError(`content-encoding ${encoding}: ${error.message}`.slice(0, 200)));
  return {
    write: (chunk, resume) => {
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
  };
}

function open(encoding: string): Pick<Gunzip, 'on' | 'once' | 'write' | 'end' | 'destroy' | 'pause' | 'resume'> | null {
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
