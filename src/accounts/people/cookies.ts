/** Every cookie of ours starts with this; what follows is the library's business. */
export const COOKIE_STEM = 'farebox';
const SESSION_COOKIE = `${COOKIE_STEM}_session`;
const HOST_PREFIX = '__Host-';
const COOKIES_MAX = 8_192;

/** Whether a browser keeps secrets on this way: over https, and on the machine itself. */
export type Transport = 'secure' | 'plain';

export function transportOf(headers: Headers, publicUrl: string): Transport {
  const known = new URL(publicUrl);
  if (known.protocol === 'https:') return 'secure';
  const host = headers.get('host') ?? known.host;
  const name = URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname : '';
  return /^(?:localhost|.+\.localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(name) ? 'secure' : 'plain';
}

/**
 * Our cookies as the library knows them. On a secure way only names a browser accepts from nobody but us are read, so
 * that a neighbouring host cannot plant one.
 */
export function ownCookies(headers: Headers, transport: Transport): ReadonlyMap<string, string> {
  const text = headers.get('cookie') ?? '';
  const found = new Map<string, string>();
  if (text.length > COOKIES_MAX) return found;
  const prefix = transport === 'secure' ? HOST_PREFIX : '';
  for (const pair of text.split(';')) {
    const at = pair.indexOf('=');
    const name = pair.slice(0, at).trim();
    if (at < 1 || !name.startsWith(prefix + COOKIE_STEM)) continue;
    const own = name.slice(prefix.length);
    if (!found.has(own)) found.set(own, pair.slice(at + 1).trim());
  }
  return found;
}

/** The text of the session cookie without the library's signature: its own length is what makes it unguessable. */
export function sessionToken(cookies: ReadonlyMap<string, string>): string | undefined {
  const value = decoded(cookies.get(SESSION_COOKIE) ?? '');
  const token = value.slice(0, Math.max(0, value.lastIndexOf('.')));
  return /^[\w-]{16,128}$/.test(token) ? token : undefined;
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return '';
  }
}

/** Cookies of the library as they go to the browser. */
export const outward = (cookies: readonly string[], transport: Transport): string[] =>
  cookies.filter((one) => one.startsWith(COOKIE_STEM)).map((one) => (transport === 'secure' ? `${HOST_PREFIX}${one}; Secure` : one));

/** Takes the session out of the browser. */
export const expired = (transport: Transport): string[] =>
  outward([`${SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0`], transport);
