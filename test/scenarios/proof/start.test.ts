import { afterAll, beforeAll, expect, test } from 'vitest';
import { randomFrom } from '../../../proof/random.js';
import { bodyOf, pathOf, planOf } from '../../../proof/torture/plans.js';
import { createWorld, type World } from '../../../proof/torture/world.js';
import { call } from '../../support/sse.js';

let world: World;

// Its configuration says `credits: { trial: 0 }`.
beforeAll(async () => {
  world = await createWorld(randomFrom(1));
}, 60_000);
afterAll(() => world.remove());

test('a first start without trial credits makes an organization that has none', async () => {
  const { body } = await world.product.api('GET', '/api/v1/admin/orgs');
  const first = (body['data'] as { id: string; name: string }[]).find(({ name }) => name === 'My organization');
  const balance = await world.product.api('GET', `/api/v1/orgs/${first?.id}/balance`);
  expect(balance.body['available']).toMatchObject({ micro: 0 });
});

test('a connection that was being handed to a gateway when it was killed is closed, not forgotten', async () => {
  const [victim = 0] = world.product.parts().gateways;
  process.kill(victim, 'SIGSTOP');
  const plan = planOf('embedding', world.random);
  const asked = Array.from({ length: 12 }, (_, i) =>
    call(`${world.product.url}${pathOf(plan)}`, {
      method: 'POST',
      token: world.customer.token,
      headers: { 'Content-Type': 'application/json' },
      body: bodyOf(plan, `handed-${i}`),
    }).end(),
  );
  // All but the one that waits for the frozen gateway are answered by the other.
  let answered = 0;
  for (const one of asked) void one.then(() => (answered += 1));
  while (answered < asked.length - 1) await new Promise((go) => setTimeout(go, 10));
  process.kill(victim, 'SIGKILL');
  const results = await Promise.all(asked);
  expect(results.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(asked.length - 1);
  expect(results.every(({ status, ending }) => status === 200 || ending === 'no_answer')).toBe(true);
});
