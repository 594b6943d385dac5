/** One verb of the command line: a row of the table that help, parsing and running are all read from. */
export interface Verb {
  /** `org create`. */
  readonly name: string;
  readonly summary: string;
  /** What stands after the verb without a name, in order; a trailing `?` makes it optional. */
  readonly operands: readonly string[];
  readonly options: readonly OptionSpec[];
  /** Sentences for `--help`, below the table of options. */
  readonly notes?: readonly string[];
  run(call: VerbCall): Promise<number> | number;
}

export interface OptionSpec {
  readonly name: string;
  /** What to write after it, such as `ID`; absent for a switch. */
  readonly value?: string;
  readonly summary: string;
  readonly required?: boolean;
}

export interface VerbCall {
  readonly operands: readonly string[];
  readonly options: ReadonlyMap<string, string>;
  readonly isJson: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly out: Printer;
  /** Starts the server; handed in because only the entry may reach the root files. */
  readonly start: (options: Readonly<Record<string, string>>) => Promise<number>;
}

/** The only way anything reaches the terminal. */
export interface Printer {
  line(text?: string): void;
  error(text: string): void;
  json(value: unknown): void;
  table(head: readonly string[], rows: readonly (readonly string[])[]): void;
}

export const EXIT = { good: 0, failed: 1, usage: 2 } as const;

/** Something a person can act on; printed without a stack. */
export class CliError extends Error {
  readonly exitCode: number;
  readonly details: unknown;

  constructor(message: string, exitCode: number, details?: unknown) {
    super(message);
    this.exitCode = exitCode;
    this.details = details;
  }
}
