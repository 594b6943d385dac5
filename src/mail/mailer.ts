import type { Log } from '../telemetry/log.js';
import { compose, type Mail } from './compose.js';
import { openSmtp } from './smtp.js';

export type { Mail };

/** How the server writes to people. Nobody waits for a mail: what cannot be sent is logged, and can be asked for again. */
export interface Mailer {
  /** Whether a link that was followed proves that somebody reads the mail of an address. Not when it only went to the log. */
  readonly provesAddresses: boolean;
  send(mail: Mail): void;
  /** Resolves when everything that was to be sent has been, or has been given up. */
  idle(): Promise<void>;
  close(): Promise<void>;
}

export interface MailerOptions {
  readonly settings: { readonly from: string; readonly smtpUrl: string } | null;
  readonly product: string;
  readonly log: Log;
  /** Pauses between attempts. */
  readonly retryMs?: readonly number[];
}

const RETRY_MS = [1_000, 10_000, 60_000];
const WAITING_MAX = 1_000;

export const createMailer = (options: MailerOptions): Mailer =>
  options.settings ? smtpMailer(options, options.settings) : logMailer(options);

/** Without a mail server the operator passes the message on; what is in the log is the whole of it. */
function logMailer({ log, product }: MailerOptions): Mailer {
  return {
    provesAddresses: false,
    send: (mail) => {
      const { subject, text } = compose(mail, product);
      log.warn(
        { to: mail.to, subject, text },
        'no mail server is configured (mail.smtp_url): this message was not sent, pass it on yourself',
      );
    },
    idle: async () => undefined,
    close: async () => undefined,
  };
}

function smtpMailer(options: MailerOptions, settings: { readonly from: string; readonly smtpUrl: string }): Mailer {
  const { log, product, retryMs = RETRY_MS } = options;
  const smtp = openSmtp(settings.smtpUrl);
  const waiting = new Set<Promise<void>>();
  let closing = false;
  const deliver = async (mail: Mail): Promise<void> => {
    const message = { from: settings.from, to: mail.to, ...compose(mail, product) };
    for (const pause of [...retryMs, null]) {
      try {
        await smtp.send(message);
        return;
      } catch (error) {
        if (pause === null || closing || smtp.isRefusal(error)) {
          log.error({ kind: mail.kind, err: error }, 'a mail could not be sent');
          return;
        }
        await new Promise((go) => setTimeout(go, pause).unref());
      }
    }
  };
  return {
    provesAddresses: true,
    send: (mail) => {
      if (waiting.size >= WAITING_MAX) {
        log.error({ kind: mail.kind }, 'a mail was dropped: too many wait for the mail server');
        return;
      }
      const sending = deliver(mail).finally(() => waiting.delete(sending));
      waiting.add(sending);
    },
    idle: async () => {
      await Promise.all(waiting);
    },
    close: async () => {
      closing = true;
      smtp.close();
    },
  };
}
