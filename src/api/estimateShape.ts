import { z } from '@hono/zod-openapi';
import { STORABLE } from './body.js';
import { AmountOutSchema } from './schemas.js';

const count = (what: string) => z.int(`A whole number of ${what}.`).min(0, 'Not negative.').max(1_000_000_000, 'At most 1,000,000,000.');

const IMAGE_WORD = z.string().regex(/^[\w-]{1,40}$/, 'A word as in the price list, like high or 1024x1024.');

/** One kind of request to a model, or a number of actions. */
const LINE = {
  model: z.string().min(1, 'Name a model.').max(256).regex(STORABLE).optional(),
  meter: z.string().min(1, 'Name a meter.').max(64).optional(),
  /** Of a meter; of seconds for what is sold by time. */
  quantity: count('units').min(1, '1 or more.').optional(),
  /** Counted by the rule that bills: as one user message, unless `messages` is given. */
  text: z.string().max(900_000, 'At most 900,000 characters.').optional(),
  messages: z
    .array(z.looseObject({ role: z.string() }))
    .max(2_000, 'At most 2,000 messages.')
    .optional(),
  input_tokens: count('tokens').optional(),
  cached_input_tokens: count('tokens').default(0),
  output_tokens: count('tokens').default(0),
  images: z
    .strictObject({ count: count('images').min(1, '1 or more.'), quality: IMAGE_WORD.optional(), size: IMAGE_WORD.optional() })
    .optional(),
  /** Of sound. */
  seconds: count('seconds').optional(),
  characters: count('characters').optional(),
  /** So many such requests. */
  requests: count('requests').min(1, '1 or more.').max(1_000_000, 'At most 1,000,000.').default(1),
};

const LineSchema = z.strictObject(LINE).superRefine(checkLine);

export type LineIn = z.output<typeof LineSchema>;

const LINES_MAX = 50;

/** One line, or several in `lines`. */
export const EstimateIn = z
  .strictObject({
    ...LINE,
    lines: z.array(LineSchema).min(1, 'Send at least one line.').max(LINES_MAX, `At most ${LINES_MAX}.`).optional(),
  })
  .superRefine((body, ctx) => {
    if (body.lines === undefined) checkLine(body, ctx);
    const beside = ['model', 'meter', 'quantity', 'text', 'messages', 'input_tokens', 'images', 'seconds', 'characters'] as const;
    for (const name of body.lines === undefined ? [] : beside)
      if (body[name] !== undefined)
        ctx.addIssue({ code: 'custom', path: [name], message: 'Put it into one of the lines, or leave lines out.' });
  });

export const linesOf = ({ lines, ...line }: z.output<typeof EstimateIn>): readonly LineIn[] => lines ?? [line];

type Line = z.output<z.ZodObject<typeof LINE>>;

function checkLine(line: Line, ctx: z.RefinementCtx): void {
  const wrong = (path: string, message: string): void => ctx.addIssue({ code: 'custom', path: [path], message });
  const { model, meter, quantity } = line;
  if ((model === undefined) === (meter === undefined)) wrong('model', 'Name a model or a meter, one of them.');
  else if (meter !== undefined) {
    if (quantity === undefined) wrong('quantity', 'How many of them?');
    for (const name of [...INPUTS, ...OTHERS] as const) if (line[name] !== undefined) wrong(name, 'A meter has a quantity only.');
  } else checkInputs(line, wrong);
}

function checkInputs(line: Line, wrong: (path: string, message: string) => void): void {
  if (line.quantity !== undefined) wrong('quantity', 'Only a meter has a quantity; use requests.');
  const inputs = INPUTS.filter((name) => line[name] !== undefined).length;
  const others = OTHERS.some((name) => line[name] !== undefined);
  if (inputs > 1 || (inputs === 0 && !others))
    wrong('input_tokens', 'Send exactly one of text, messages and input_tokens; none is needed with images, seconds or characters.');
}

const INPUTS = ['text', 'messages', 'input_tokens'] as const;
const OTHERS = ['images', 'seconds', 'characters'] as const;

export const EstimateOut = z
  .strictObject({
    lines: z.array(
      z.strictObject({
        model: z.string().nullable(),
        meter: z.string().nullable(),
        input_tokens: z.int(),
        cached_input_tokens: z.int(),
        output_tokens: z.int(),
        /** Units that the monthly allowance still covers now. */
        free_quantity: z.int(),
        requests: z.int(),
        /** One request; of a meter, all of the quantity once. */
        each: AmountOutSchema,
        cost: AmountOutSchema,
      }),
    ),
    cost: AmountOutSchema,
    /** A thousand times all of it. */
    per_1000_requests: AmountOutSchema,
    price_version: z.string(),
  })
  .openapi('Estimate');
