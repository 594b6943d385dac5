import { AsyncLocalStorage } from 'node:async_hooks';
import { isIP } from 'node:net';

const origin = new AsyncLocalStorage<string>();

/** Whatever `act` does, and waits for, is done for somebody at this address; one that is none is not noted. */
export function from<T>(address: string | undefined, act: () => T): T {
  const plain = address?.toLowerCase() ?? '';
  return isIP(plain) && /^[0-9a-f.:]{2,45}$/.test(plain) ? origin.run(plain, act) : act();
}

/** The address that the present act was asked for from: digits, letters up to f, dots and colons. */
export const askedFrom = (): string | undefined => origin.getStore();
