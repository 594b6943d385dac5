import { expect, test } from 'vitest';
import type { GatewayError } from '../../src/gateway/errors.js';
import { createOpenRequests, type OpenRequests, type Running } from '../../src/gateway/open.js';

/** Notes when it is looked at, and does then what it was told to. */
function running(seen: string[], name: string, act: () => void = () => {}): Running {
  return {
    place: -1,
    tick: () => {
      seen.push(name);
      act();
    },
    isAbandoned: () => name.startsWith('left'),
    held: () => 10,
    restore: (lost) => void seen.push(`${name}:${[...lost].join()}`),
    cut: (error) => void seen.push(`${name}:${error.code}`),
  };
}

function listOf(
  seen: string[],
  names: readonly string[],
  acts: Readonly<Record<string, (open: OpenRequests, all: Map<string, Running>) => void>> = {},
) {
  const open = createOpenRequests(2);
  const all = new Map<string, Running>();
  for (const name of names) {
    const one = running(seen, name, () => acts[name]?.(open, all));
    all.set(name, one);
    open.add(one);
  }
  return { open, all };
}

test('every request is looked at once, also when it ends by that', () => {
  const seen: string[] = [];
  const end = (name: string) => (open: OpenRequests, all: Map<string, Running>) => open.remove(all.get(name) as Running);
  const { open } = listOf(seen, ['a', 'b', 'c', 'd', 'e'], { b: end('b'), d: end('d'), e: end('e') });
  open.tick(0);
  expect([...seen].sort()).toEqual(['a', 'b', 'c', 'd', 'e']);
  expect(open.size).toBe(2);
  seen.length = 0;
  open.tick(100);
  expect([...seen].sort()).toEqual(['a', 'c']);
});

test('nobody is left out when others end while one is looked at, and who has ended is not looked at', () => {
  const seen: string[] = [];
  const { open } = listOf(seen, ['a', 'b', 'c', 'd', 'e'], {
    e: (list, all) => {
      for (const name of ['a', 'c', 'e']) list.remove(all.get(name) as Running);
    },
  });
  open.tick(0);
  expect([...new Set(seen)].sort()).toEqual(['b', 'd', 'e']);
});

test('a request that has ended twice takes nobody else away, and the last one ends the waiting', async () => {
  const seen: string[] = [];
  const { open, all } = listOf(seen, ['a', 'b']);
  const [a, b] = [all.get('a'), all.get('b')] as [Running, Running];
  let isIdle = false;
  const idle = open.idle().then(() => {
    isIdle = true;
  });
  open.remove(a);
  open.remove(a);
  expect(open.size).toBe(1);
  expect(open.held()).toBe(10);
  await Promise.resolve();
  expect(isIdle).toBe(false);
  open.remove(b);
  await idle;
  await open.idle();
  expect(open.size).toBe(0);
});

test('all are cut, all are put back, and only so many may finish alone', async () => {
  const seen: string[] = [];
  const { open, all } = listOf(seen, ['a', 'left1', 'left2']);
  open.cutAll({ code: 'shutting_down' } as GatewayError);
  await open.restore(new Set(['07']));
  expect(seen).toEqual(['a:shutting_down', 'left1:shutting_down', 'left2:shutting_down', 'a:07', 'left1:07', 'left2:07']);
  expect(open.mayFinish()).toBe(false);
  open.remove(all.get('left1') as Running);
  expect(open.mayFinish()).toBe(true);
});
