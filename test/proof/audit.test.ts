import { expect, test } from 'vitest';
import { randomFrom } from '../../proof/random.js';
import { bounds } from '../../proof/torture/audit.js';
import type { Entry } from '../../proof/torture/load.js';
import { bodyOf, planOf } from '../../proof/torture/plans.js';
import type { Result } from '../support/sse.js';
import type { Seen } from '../support/upstream.js';

const words = (count: number): string => 'data: {"choices":[{"index":0,"delta":{"content":" alpha"}}]}\n\n'.repeat(count);
const REPORT = 'data: {"choices":[],"usage":{"prompt_tokens":6,"completion_tokens":7}}\n\ndata: [DONE]\n\n';
/** 6 tokens asked for 200 each, 7 answered for 800. */
const REPORTED = 6 * 200 + 7 * 800;

/** A client that hung up when it had read five words. */
function entryOf(): Entry {
  const plan = planOf('leaving', randomFrom(1));
  const read = Buffer.from(words(5));
  const result: Result = {
    ...{ status: 200, headers: new Map(), body: read, wire: read, events: [], done: false, text: ' alpha'.repeat(5) },
    ...{ ending: 'truncated', json: undefined, begunMs: 1 },
  };
  return { tag: 't-1', plan, body: bodyOf(plan, 't-1'), startedMs: 0, endedMs: 400, result, hung: false, twin: null };
}

function seenOf(text: string, ending: Seen['ending']): Seen {
  const nothing = { headerLines: [], body: Buffer.alloc(0), json: {}, text: '', reasoning: '', abortedAtMs: null, endedAtMs: 1 };
  const usageSent = ending === 'complete' ? { prompt_tokens: 6, completion_tokens: 7 } : null;
  return {
    ...nothing,
    number: 0,
    method: 'POST',
    path: '/v1',
    headers: new Map(),
    atMs: 0,
    delivered: Buffer.from(text),
    usageSent,
    ending,
  };
}

const NOTHING_ALLOWED = { crash: false, refusals: false };
const boundsOf = (...seen: Seen[]) => bounds({ entry: entryOf(), rows: [], seen, allowed: NOTHING_ALLOWED });

test('whoever leaves in the middle pays for what was read at least, and for what the upstream sent at most', () => {
  const [least, most] = boundsOf(seenOf(words(9), 'aborted'));
  expect(most - least).toBe(4 * 800);
  expect(least).toBeGreaterThan(5 * 800);
});

test('an answer that was whole before anybody saw that its client had left may be charged as reported, though its count is more', () => {
  const [counted] = boundsOf(seenOf(words(9), 'aborted'));
  expect(counted).toBeGreaterThan(REPORTED);
  const [least, most] = boundsOf(seenOf(words(9) + REPORT, 'complete'));
  expect(least).toBe(REPORTED);
  expect(most).toBeGreaterThanOrEqual(least);
});
