import { StringDecoder } from 'node:string_decoder';

/** What a proof looks for in the log of a server. */
const WORDS = { surprise: /an error nobody expected.{0,400}/, unsettled: /only in the journal.{0,200}/ } as const;
export type Word = keyof typeof WORDS;

/** How often something was said since the start, and the first times in full. */
export interface Heard {
  readonly count: number;
  readonly examples: readonly string[];
}

const TAIL_CHARS = 2_000_000;
const EXAMPLES = 20;

/** The log of a server, searched as it comes: a run may say more than anybody wants to keep. */
export class Said {
  private text = '';
  private readonly heard = new Map<Word, { count: number; examples: string[] }>();

  /** For one stream of the server, whose lines come in pieces. */
  listener(): (bytes: Buffer) => void {
    const decoder = new StringDecoder('utf8');
    let rest = '';
    return (bytes) => {
      const text = decoder.write(bytes);
      this.text = (this.text + text).slice(-TAIL_CHARS);
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.read(line);
    };
  }

  tail(): string {
    return this.text;
  }

  of(word: Word): Heard {
    return this.heard.get(word) ?? { count: 0, examples: [] };
  }

  private read(line: string): void {
    for (const word of Object.keys(WORDS) as Word[]) {
      const found = WORDS[word].exec(line);
      if (!found) continue;
      const heard = this.heard.get(word) ?? { count: 0, examples: [] };
      heard.count += 1;
      if (heard.examples.length < EXAMPLES) heard.examples.push(found[0]);
      this.heard.set(word, heard);
    }
  }
}
