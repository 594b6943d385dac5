import type { Mail, Mailer } from '../../../src/mail/mailer.js';
import type { Rig } from '../../api/harness.js';

/** What a browser keeps and sends along: its cookies, and the page it is on. */
export interface Browser {
  send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<BrowserReply>;
  readonly cookies: ReadonlyMap<string, string>;
}

export interface BrowserReply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

export const ORIGIN = 'http://farebox.test';

export function openBrowser(
  app: Rig['app'],
  options: { readonly origin?: string; readonly agent?: string; readonly address?: string } = {},
): Browser {
  const { origin = ORIGIN, agent = 'Test Browser', address } = options;
  const cookies = new Map<string, string>();
  return {
    cookies,
    send: async (method, path, body, headers = {}) => {
      const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
      const response = await app.request(`${origin}${path}`, {
        method,
        headers: {
          host: new URL(origin).host,
          'user-agent': agent,
          ...(address === undefined ? {} : { 'x-forwarded-for': address }),
          ...(method === 'GET' ? {} : { origin }),
          ...(cookie === '' ? {} : { cookie }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      for (const line of response.headers.getSetCookie()) keep(cookies, line);
      return { status: response.status, headers: response.headers, body: (await response.json()) as Record<string, unknown> };
    },
  };
}

function keep(cookies: Map<string, string>, line: string): void {
  const [pair = '', ...attributes] = line.split(';');
  const at = pair.indexOf('=');
  const isOver = attributes.some((one) => one.trim().toLowerCase() === 'max-age=0');
  if (isOver) cookies.delete(pair.slice(0, at));
  else cookies.set(pair.slice(0, at), pair.slice(at + 1));
}

/** Keeps every mail instead of sending it. */
export function mailbox(provesAddresses: boolean): Mailer & { readonly mails: Mail[]; link(to: string): string } {
  const mails: Mail[] = [];
  return {
    provesAddresses,
    mails,
    send: (mail) => {
      mails.push(mail);
    },
    idle: async () => undefined,
    close: async () => undefined,
    link: (to) => {
      const mail = mails.findLast((one) => one.to === to && one.link.includes('#token='));
      if (!mail) throw new Error(`no link was sent to ${to}; sent: ${mails.map((one) => `${one.kind} to ${one.to}`).join(', ')}`);
      return mail.link.slice(mail.link.indexOf('#token=') + 7);
    },
  };
}
