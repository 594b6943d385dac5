import { optionsOf, usageOf } from './parse.js';
import type { Printer, Verb } from './verb.js';

export function printHelp(out: Printer, verbs: readonly Verb[], verb: Verb | null): void {
  if (verb) printVerb(out, verb);
  else printAll(out, verbs);
}

function printAll(out: Printer, verbs: readonly Verb[]): void {
  out.line('Farebox: an OpenAI-compatible gateway with prepaid credits.');
  out.line();
  const width = Math.max(...verbs.map(({ name }) => name.length));
  for (const { name, summary } of verbs) out.line(`  farebox ${name.padEnd(width)}  ${summary}`);
  out.line();
  out.line('Every verb takes --json and --help. From a checkout: npm run -s farebox -- <verb>');
  out.line('Verbs that change something talk to the running server: FAREBOX_URL (default http://127.0.0.1:8080),');
  out.line('with FAREBOX_OPERATOR_KEY or the file operator.key in the data folder.');
}

function printVerb(out: Printer, verb: Verb): void {
  out.line(`${verb.summary}.`);
  out.line();
  out.line(`Usage: ${usageOf(verb)}`);
  out.line();
  const options = optionsOf(verb).map(({ name, value, summary }) => ({ left: value ? `--${name} ${value}` : `--${name}`, summary }));
  const width = Math.max(...options.map(({ left }) => left.length));
  for (const { left, summary } of options) out.line(`  ${left.padEnd(width)}  ${summary}`);
  for (const note of verb.notes ?? []) out.line(`\n${note}`);
}
