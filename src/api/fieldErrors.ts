import type { z } from '@hono/zod-openapi';
import { escapePointer } from './body.js';
import type { FieldError } from './problem.js';

type Issue = z.core.$ZodIssue;

/** Every wrong field at once, each under its own pointer. */
export function fieldErrors(error: z.core.$ZodError, place: (path: readonly PropertyKey[]) => string): FieldError[] {
  return error.issues.flatMap((issue) => describe(issue, [], place)).slice(0, 100);
}

export const inBody = (path: readonly PropertyKey[]): string => path.map((part) => `/${escapePointer(String(part))}`).join('');
export const inQuery = (path: readonly PropertyKey[]): string => `?${path.map(String).join('.')}`.slice(0, 100);

function describe(issue: Issue, above: readonly PropertyKey[], place: (path: readonly PropertyKey[]) => string): FieldError[] {
  const path = [...above, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      pointer: place([...path, key]),
      code: 'unknown_field',
      message: `There is no field "${key.slice(0, 100)}".`,
    }));
  }
  if (issue.code === 'invalid_union') {
    // The branch that was meant is the one that got furthest into the value.
    const meant = issue.errors.find(
      (branch) => branch.length > 0 && branch.every((one) => one.path.length > 0 || one.code === 'unrecognized_keys'),
    );
    if (meant) return meant.flatMap((one) => describe(one, path, place));
  }
  return [{ pointer: place(path), code: CODES.get(issue.code) ?? 'invalid', message: sentence(issue) }];
}

const CODES = new Map<string | undefined, string>([
  ['invalid_type', 'wrong_type'],
  ['too_big', 'too_large'],
  ['too_small', 'too_small'],
  ['invalid_value', 'not_allowed'],
  ['invalid_format', 'wrong_form'],
]);

function sentence(issue: Issue): string {
  if (issue.code === 'invalid_type' && issue.input === undefined && issue.message.includes('received undefined'))
    return 'This field is missing.';
  return issue.message.endsWith('.') ? issue.message : `${issue.message}.`;
}
