import { parseArgs } from 'node:util';
import { meant } from '../config/finding.js';
import { CliError, EXIT, type OptionSpec, type Verb } from './verb.js';

export type Parsed =
  | { readonly kind: 'help'; readonly verb: Verb | null }
  | { readonly kind: 'version' }
  | {
      readonly kind: 'verb';
      readonly verb: Verb;
      readonly operands: readonly string[];
      readonly options: ReadonlyMap<string, string>;
      readonly isJson: boolean;
    };

const EVERYWHERE: readonly OptionSpec[] = [
  { name: 'json', summary: 'print JSON, for programs' },
  { name: 'data', value: 'DIR', summary: 'the data folder (FAREBOX_DATA, default ./data)' },
  { name: 'help', summary: 'print this' },
];

export const optionsOf = (verb: Verb): readonly OptionSpec[] => [
  ...verb.options,
  ...EVERYWHERE.filter(({ name }) => !verb.options.some((own) => own.name === name)),
];

/** Finds the verb and reads what follows it. Every mistake is named together with what was probably meant. */
export function parse(args: readonly string[], verbs: readonly Verb[]): Parsed {
  const [first, second] = args;
  if (first === undefined || first === 'help' || first === '--help' || first === '-h')
    return { kind: 'help', verb: verbs.find(({ name }) => name === args.slice(1).join(' ')) ?? null };
  if (first === '--version' || first === '-V') return { kind: 'version' };
  const two = verbs.find(({ name }) => name === `${first} ${second}`);
  const verb = two ?? verbs.find(({ name }) => name === first);
  if (!verb) throw unknownVerb(first, second, verbs);
  return readOptions(verb, args.slice(two ? 2 : 1));
}

function readOptions(verb: Verb, rest: readonly string[]): Parsed {
  const specs = optionsOf(verb);
  const { tokens } = parseArgs({
    args: [...rest],
    options: Object.fromEntries(specs.map(({ name, value }) => [name, { type: value ? 'string' : 'boolean' } as const])),
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const options = new Map<string, string>();
  const operands: string[] = [];
  for (const token of tokens ?? []) {
    if (token.kind === 'positional') operands.push(token.value);
    if (token.kind !== 'option') continue;
    if (token.name === 'h') return { kind: 'help', verb };
    const spec = specs.find(({ name }) => name === token.name);
    if (!spec) throw unknownOption(verb, token.rawName, specs);
    if (spec.value && token.value === undefined) throw usage(verb, `--${spec.name} needs a value: --${spec.name} ${spec.value}.`);
    if (!spec.value && token.value !== undefined) throw usage(verb, `--${spec.name} takes no value.`);
    if (options.has(spec.name)) throw usage(verb, `--${spec.name} was given twice.`);
    options.set(spec.name, token.value ?? 'true');
  }
  if (options.has('help')) return { kind: 'help', verb };
  checkOperands(verb, operands);
  const missing = specs.filter(({ name, required }) => required && !options.has(name));
  if (missing.length > 0) throw usage(verb, `Missing: ${missing.map(({ name, value }) => `--${name} ${value ?? ''}`.trim()).join(', ')}.`);
  return { kind: 'verb', verb, operands, options, isJson: options.has('json') };
}

function checkOperands(verb: Verb, operands: readonly string[]): void {
  const needed = verb.operands.filter((name) => !name.endsWith('?'));
  if (operands.length < needed.length) throw usage(verb, `Missing: ${needed.slice(operands.length).join(' ')}.`);
  const extra = operands[verb.operands.length];
  if (extra !== undefined) throw usage(verb, `There is no place for "${extra.slice(0, 80)}". A name with spaces needs quotes.`);
}

function unknownVerb(first: string, second: string | undefined, verbs: readonly Verb[]): CliError {
  const family = verbs.filter(({ name }) => name.startsWith(`${first} `)).map(({ name }) => name);
  if (family.length > 0) {
    const near = meant(`${first} ${second ?? ''}`, family);
    const said = second === undefined ? `"farebox ${first}" needs one more word` : `There is no "farebox ${first} ${second.slice(0, 40)}"`;
    return new CliError(`${said}. ${near ? `Did you mean "farebox ${near}"? ` : ''}There is: ${family.join(', ')}.`, EXIT.usage);
  }
  const near = meant(first, [...new Set(verbs.flatMap(({ name }) => [name, name.split(' ')[0] ?? name]))]);
  const hint = near ? `Did you mean "farebox ${near}"? ` : '';
  return new CliError(`There is no "farebox ${first.slice(0, 40)}". ${hint}"farebox --help" lists what there is.`, EXIT.usage);
}

function unknownOption(verb: Verb, raw: string, specs: readonly OptionSpec[]): CliError {
  const near = meant(
    raw.replace(/^-+/, ''),
    specs.map(({ name }) => name),
  );
  return usage(verb, `There is no ${raw.slice(0, 40)}. ${near ? `Did you mean --${near}? ` : ''}`.trim());
}

const usage = (verb: Verb, message: string): CliError => new CliError(`${message}\nUsage: ${usageOf(verb)}`, EXIT.usage);

export function usageOf(verb: Verb): string {
  const operands = verb.operands.map((name) => (name.endsWith('?') ? `[${name.slice(0, -1)}]` : name));
  const options = verb.options.map(({ name, value, required }) => {
    const text = value ? `--${name} ${value}` : `--${name}`;
    return required ? text : `[${text}]`;
  });
  return ['farebox', verb.name, ...operands, ...options].join(' ');
}
