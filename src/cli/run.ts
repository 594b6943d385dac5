import { asideVerbs } from './aside.js';
import { codeVerbs } from './codes.js';
import { doctorVerb } from './doctor.js';
import { printHelp } from './help.js';
import { localVerbs } from './local.js';
import { manageVerbs } from './manage.js';
import { parse } from './parse.js';
import { type ReconcileDirectly, reconcileVerb } from './reconcile.js';
import { tokenVerbs } from './tokens.js';
import { CliError, EXIT, type Printer, type Verb, type VerbCall } from './verb.js';

export interface CliParts extends Pick<VerbCall, 'env' | 'out' | 'start'> {
  readonly reconcile: ReconcileDirectly;
  readonly version: string;
}

export const verbsOf = (reconcile: ReconcileDirectly): readonly Verb[] => [
  ...localVerbs.slice(0, 3),
  reconcileVerb(reconcile),
  ...manageVerbs,
  ...tokenVerbs,
  ...codeVerbs,
  ...asideVerbs,
  ...localVerbs.slice(3),
  doctorVerb,
];

/** Runs one command line and answers its exit code. Nothing a person did wrong shows a stack. */
export async function runCli(args: readonly string[], parts: CliParts): Promise<number> {
  const { out, env, start } = parts;
  const verbs = verbsOf(parts.reconcile);
  let isJson = args.includes('--json');
  try {
    const parsed = parse(args, verbs);
    if (parsed.kind === 'version') out.line(parts.version);
    else if (parsed.kind === 'help') printHelp(out, verbs, parsed.verb);
    else {
      isJson = parsed.isJson;
      return await parsed.verb.run({ operands: parsed.operands, options: parsed.options, isJson, env, out, start });
    }
    return EXIT.good;
  } catch (error) {
    return failed(error, out, isJson);
  }
}

function failed(error: unknown, out: Printer, isJson: boolean): number {
  const known = error instanceof CliError;
  const said = known ? error.message : publicText(error);
  if (isJson) out.json({ error: { message: said, ...(known && error.details !== undefined ? { problem: error.details } : {}) } });
  else out.error(said);
  return known ? error.exitCode : EXIT.failed;
}

function publicText(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'publicMessage' in error) return String(error.publicMessage);
  return `This did not work: ${error instanceof Error ? error.message.split('\n')[0]?.slice(0, 300) : 'for an unknown reason'}.`;
}
