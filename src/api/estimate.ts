import { z } from '@hono/zod-openapi';
import type { Org } from '../accounts/org.js';
import { readOrg } from '../accounts/readOrg.js';
import { NO_USAGE, type Usage } from '../domain/charge.js';
import { isOrgId } from '../domain/ids.js';
import { charge, recompute } from '../pricing/charge.js';
import { timesFor } from '../pricing/multiplier.js';
import { type AllowanceOut, allowancesOf } from './allowances.js';
import { type ApiDeps, shown } from './deps.js';
import { EstimateIn, EstimateOut, type LineIn, linesOf } from './estimateShape.js';
import { noSuchOrg } from './orgs.js';
import { type FieldError, invalid, notPriced, type Problem, tryAgain } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';

export const estimateRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/orgs/{org}/pricing/estimate',
    permission: 'pricing.read',
    summary: 'What requests and actions would cost, counted with the tokenizer that bills',
    tag: 'prices',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
    body: EstimateIn,
    answers: { 200: { description: 'Each line and all of them', schema: EstimateOut } },
    handle: async ({ params, body }) => {
      const org = await readOrg({ ctx: deps, orgId: params.org });
      if (!org) return noSuchOrg();
      const scene: Scene = { deps, org, left: new Map() };
      for (const one of await allowancesOf(deps, params.org)) scene.left.set(one.meter, one);
      const lines: Priced[] = [];
      const wrong: FieldError[] = [];
      for (const [index, line] of linesOf(body).entries()) {
        const priced = line.meter === undefined ? await priceModel(scene, line) : priceMeter(scene, line);
        if ('kind' in priced) return priced;
        if ('cost' in priced) lines.push(priced);
        else wrong.push({ ...priced, pointer: `${body.lines ? `/lines/${index}` : ''}${priced.pointer}` });
      }
      const [only] = wrong;
      if (only && !body.lines && only.code === 'model_not_priced') return notPriced(only.message);
      return only ? invalid(wrong) : answer(200, allOut(deps, lines));
    },
  });

interface Scene {
  readonly deps: ApiDeps;
  readonly org: Org;
  /** What is left of allowances; a line takes from it what the next one does not have. */
  readonly left: Map<string, AllowanceOut>;
}

interface Priced {
  readonly line: LineIn;
  readonly input: number;
  readonly free: number;
  /** Of one request; of a meter, of all its quantity. */
  readonly cost: number;
}

async function priceModel({ deps, org }: Scene, line: LineIn): Promise<Priced | FieldError | Problem> {
  const { model = '', images, seconds, characters } = line;
  const priced = timesFor({ book: deps.prices(), group: org.price_group, prices: org.prices, model });
  if (priced.kind === 'refused') return { pointer: '/model', code: 'model_not_priced', message: priced.message };
  const { entry, times } = priced;
  const unpriced = unpricedOf(line, (meter) => entry.free || entry.table.rates.has(meter));
  if (unpriced) return unpriced;
  const input = line.input_tokens ?? (await counted(deps, line));
  if (typeof input !== 'number') return input;
  const detailed = images && imageMeter(images);
  const usage: Usage = {
    ...NO_USAGE,
    input,
    cached_input: Math.min(line.cached_input_tokens, input),
    output: line.output_tokens,
    ...(detailed ? { meters: { [detailed]: images.count } } : { images: images?.count ?? 0 }),
    seconds: seconds ?? 0,
    characters: characters ?? 0,
  };
  return { line, input, free: 0, cost: charge({ entry, usage, times }).cost };
}

/** What is asked for but has no price would look as if it were free. */
function unpricedOf({ model, images, seconds, characters }: LineIn, has: (meter: string) => boolean): FieldError | undefined {
  const asked = [
    ['/images', images ? (imageMeter(images) ?? 'image') : null, 'images of this quality and size'],
    ['/seconds', seconds === undefined ? null : 'second', 'time'],
    ['/characters', characters === undefined ? null : 'character', 'characters'],
  ] as const;
  const [missing] = asked.filter(([, meter]) => meter !== null && !has(meter));
  return (
    missing && {
      pointer: missing[0],
      code: 'not_priced',
      message: `"${model}" has no price for ${missing[2]}. The price list says what it is sold by.`,
    }
  );
}

const imageMeter = ({ quality, size }: NonNullable<LineIn['images']>): string | undefined =>
  quality === undefined ? undefined : `image.${quality}${size === undefined ? '' : `.${size}`}`;

/** As it would be booked now: what is left of its allowance first, the rest at its price. */
function priceMeter({ deps, org, left }: Scene, line: LineIn): Priced | FieldError {
  const { meter: name = '', quantity = 0 } = line;
  const book = deps.prices();
  const meter = book.meter(name);
  const times = book.group(org.price_group);
  if (!meter || !times) return { pointer: '/meter', code: 'unknown_action', message: `There is no meter called "${name}".` };
  const usage: Usage = meter.entry.stepSeconds > 0 ? { ...NO_USAGE, seconds: quantity } : { ...NO_USAGE, meters: { [name]: quantity } };
  const full = charge({ entry: meter.entry, usage, times });
  const [counts] = full.breakdown.lines;
  const known = left.get(name);
  if (!counts || !known) return { line, input: 0, free: 0, cost: full.cost };
  const free = Math.min(known.left, counts.quantity);
  left.set(name, { ...known, left: known.left - free });
  const paid = { ...counts, quantity: counts.quantity - free };
  return { line, input: 0, free, cost: recompute({ lines: paid.quantity > 0 ? [paid] : [], times: times.text }) };
}

function allOut(deps: ApiDeps, priced: readonly Priced[]): z.input<typeof EstimateOut> {
  const most = (micro: number): number => Math.min(micro, Number.MAX_SAFE_INTEGER);
  const total = most(priced.reduce((sum, { line, cost }) => sum + cost * line.requests, 0));
  return {
    lines: priced.map(({ line, input, free, cost }) => ({
      model: line.model ?? null,
      meter: line.meter ?? null,
      input_tokens: input,
      cached_input_tokens: Math.min(line.cached_input_tokens, input),
      output_tokens: line.output_tokens,
      free_quantity: free,
      requests: line.requests,
      each: shown(deps, cost),
      cost: shown(deps, most(cost * line.requests)),
    })),
    cost: shown(deps, total),
    per_1000_requests: shown(deps, most(total * 1_000)),
    price_version: deps.prices().version,
  };
}

async function counted(deps: ApiDeps, { model = '', text, messages }: LineIn): Promise<number | Problem> {
  if (text === undefined && messages === undefined) return 0;
  const sent = messages ?? [{ role: 'user', content: text ?? '' }];
  const request = new TextEncoder().encode(JSON.stringify({ model, messages: sent }));
  try {
    const { input } = await deps.counter.count({ endpoint: 'chat', model, request, response: [], stream: false });
    return input;
  } catch (error) {
    deps.log.warn({ err: error }, 'an estimate could not be counted');
    return tryAgain('count_unavailable', 'The tokens could not be counted right now. Try again, or send input_tokens.');
  }
}
