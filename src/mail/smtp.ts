import { createTransport } from 'nodemailer';

export interface Message {
  readonly from: string;
  readonly to: string;
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

export interface Smtp {
  send(message: Message): Promise<void>;
  /** The server will say the same next time. */
  isRefusal(error: unknown): boolean;
  close(): void;
}

/** The one door to the mail server. Every step of a conversation has a bound. */
export function openSmtp(url: string): Smtp {
  const transport = createTransport({
    url,
    pool: true,
    maxConnections: 2,
    connectionTimeout: 10_000,
    greetingTimeout: 10_000,
    socketTimeout: 30_000,
    // Whatever is in a message is written here; nothing may be fetched for it.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return {
    send: async (message) => {
      await transport.sendMail({ ...message, headers: { 'Auto-Submitted': 'auto-generated' } });
    },
    isRefusal: (error) => {
      const code = (error as { responseCode?: number }).responseCode;
      return code !== undefined && code >= 500 && code < 600;
    },
    close: () => transport.close(),
  };
}
