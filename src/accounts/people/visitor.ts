import { ownCookies, sessionToken, type Transport, transportOf } from './cookies.js';

/** Where a call comes from, as far as people are concerned. */
export interface Visitor {
  readonly transport: Transport;
  /** The peer of the connection; what a request says about itself does not count. */
  readonly address: string;
  readonly userAgent: string;
  readonly token: string | undefined;
  /** What the library is shown: our own cookies and nothing else a client could have sent. */
  readonly headers: Headers;
}

export function visitorOf(headers: Headers, address: string | undefined, publicUrl: string): Visitor {
  const transport = transportOf(headers, publicUrl);
  const cookies = ownCookies(headers, transport);
  const userAgent = (headers.get('user-agent') ?? '').slice(0, 300);
  const shown = new Headers({ 'user-agent': userAgent });
  if (cookies.size > 0) shown.set('cookie', [...cookies].map(([name, value]) => `${name}=${value}`).join('; '));
  if (address) shown.set('x-farebox-address', address);
  return { transport, address: address ?? '', userAgent, token: sessionToken(cookies), headers: shown };
}
