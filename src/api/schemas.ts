import { z } from '@hono/zod-openapi';
import { type MicroCredits, parseCredits } from '../domain/credits.js';

/** The shapes that several routes take or give. What validates is what the document says. */

const SAYS_AMOUNT = 'Write an amount of credits as digits with at most six decimals, such as "12.5"; never negative.';

/** A JSON number keeps 15 digits; a longer one has been changed before we ever saw it. */
const keepsItsDigits = (value: unknown): boolean => typeof value !== 'number' || String(value).replace(/\D/g, '').length <= 15;

const amount = (isAllowed: (micro: MicroCredits) => boolean, says: string) =>
  z
    .union([z.string(), z.number()], { error: ({ input }) => (input === undefined ? 'This field is missing.' : says) })
    .transform((value, ctx): MicroCredits => {
      if (!keepsItsDigits(value)) ctx.addIssue({ code: 'custom', message: 'Numbers of more than 15 digits are not exact: send a text.' });
      else {
        const micro = parseCredits(value);
        if (micro !== undefined && isAllowed(micro)) return micro;
        ctx.addIssue({ code: 'custom', message: says });
      }
      return z.NEVER;
    })
    .openapi({ description: says, example: '12.5' });

export const AmountIn = amount(() => true, SAYS_AMOUNT);
export const PositiveAmountIn = amount((micro) => micro > 0, `${SAYS_AMOUNT.slice(0, -1)}, and more than 0.`);

export const AmountOutSchema = z
  .strictObject({
    credits: z.string().regex(/^-?\d+(\.\d{1,6})?$/),
    micro: z.int(),
    money: z.strictObject({ amount: z.string(), currency: z.string() }).nullable(),
  })
  .openapi('Amount');

/** Text for people: no control characters, and something to see. */
export const text = (max: number) =>
  z
    .string()
    .trim()
    .min(1, 'Write something here.')
    .max(max, `At most ${max} characters.`)
    .refine((value) => !CONTROL.test(value), 'Control characters are not allowed.');

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are exactly what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;

export const TimeIn = z.iso
  .datetime({ offset: true, abort: true, error: 'Write a time as 2026-12-31T23:59:59Z.' })
  .refine((value) => Number.isFinite(Date.parse(value)) && new Date(value).getUTCFullYear() <= 9999, 'This time does not exist.')
  .transform((value) => new Date(value).toISOString())
  .openapi({ example: '2026-12-31T23:59:59Z' });

export const TimeOut = z.iso.datetime();

export const LimitQuery = z
  .string()
  .regex(/^\d{1,3}$/, 'A number from 1 to 200.')
  .transform(Number)
  .refine((value) => value >= 1 && value <= 200, 'A number from 1 to 200.')
  .default(50)
  .openapi({ type: 'integer', minimum: 1, maximum: 200, default: 50 });

export const CursorQuery = z.string().max(1_000, 'This is not one of our cursors.').optional();

export const pageSchema = <Row extends z.ZodType>(row: Row) =>
  z.strictObject({ data: z.array(row), has_more: z.boolean(), next_cursor: z.string().nullable() });

export const ProblemSchema = z
  .looseObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string(),
    request_id: z.string(),
    errors: z.array(z.strictObject({ pointer: z.string(), code: z.string(), message: z.string() })).optional(),
    required_permission: z.string().optional(),
    required_scope: z.string().optional(),
    resolve_url: z.string().optional(),
  })
  .openapi('Problem');

/** RFC 3339 in UTC, whatever the database said. */
export const timeOut = (at: string | Date): string => new Date(at).toISOString();
export const timeOutOrNull = (at: string | Date | null): string | null => (at === null ? null : timeOut(at));
