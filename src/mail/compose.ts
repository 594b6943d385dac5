/** What the server writes to people. `to` is the address; everything else comes into the text, escaped where it has to be. */
export type Mail = { readonly to: string } & (
  | { readonly kind: 'verify'; readonly link: string }
  | { readonly kind: 'already_registered'; readonly link: string }
  | { readonly kind: 'reset'; readonly link: string; readonly minutes: number }
  | { readonly kind: 'password_changed'; readonly link: string }
  | {
      readonly kind: 'invitation';
      readonly link: string;
      readonly by: string;
      readonly organization: string;
      readonly role: string;
      readonly days: number;
    }
  | { readonly kind: 'new_sign_in'; readonly link: string; readonly at: string; readonly address: string; readonly device: string }
  | { readonly kind: 'new_email'; readonly link: string }
  | { readonly kind: 'email_changed'; readonly link: string }
  | { readonly kind: 'account_deleted'; readonly link: string }
  | { readonly kind: 'two_factor_off'; readonly link: string; readonly at: string }
);

export interface Composed {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

/** One message: what happened, at most one thing to do, and what to do if it was not you. */
interface Letter {
  readonly subject: string;
  readonly lines: readonly string[];
  readonly action?: { readonly label: string; readonly link: string };
  readonly after: readonly string[];
}

export function compose(mail: Mail, product: string): Composed {
  const letter = letterOf(mail, product);
  return { subject: letter.subject.replace(/[\r\n]+/g, ' '), text: textOf(letter, product), html: htmlOf(letter, product) };
}

/** What somebody asked for, or is asked to do. */
function letterOf(mail: Mail, product: string): Letter {
  switch (mail.kind) {
    case 'verify':
      return {
        subject: `Confirm your e-mail address for ${product}`,
        lines: [`Somebody, most likely you, made an account at ${product} with this address. Confirm it to sign in.`],
        action: { label: 'Confirm this address', link: mail.link },
        after: [
          'The link works once, for 24 hours.',
          'If it was not you, do nothing: without this confirmation the account cannot be used.',
        ],
      };
    case 'already_registered':
      return {
        subject: `You already have an account at ${product}`,
        lines: [
          `Somebody tried to make an account at ${product} with this address. There is one already, so nothing was changed.`,
          'If it was you, sign in as usual, or set a new password if you do not remember it.',
        ],
        action: { label: 'Sign in', link: mail.link },
        after: ['If it was not you, there is nothing to do.'],
      };
    case 'reset':
      return {
        subject: `Set a new password for ${product}`,
        lines: [`A new password was asked for your account at ${product}.`],
        action: { label: 'Set a new password', link: mail.link },
        after: [
          `The link works once, for ${mail.minutes} minutes. Setting a password ends all sessions.`,
          'If it was not you, do nothing: your password stays as it is.',
        ],
      };
    case 'invitation':
      return {
        subject: `${mail.by} invites you to ${mail.organization} at ${product}`,
        lines: [`${mail.by} invites you to the organization ${mail.organization} at ${product}, in the role ${mail.role}.`],
        action: { label: 'Look at the invitation', link: mail.link },
        after: [
          `The link works for ${mail.days} days. Sign in with an account of this address, or make one.`,
          'If you do not know the sender, do nothing.',
        ],
      };
    case 'new_email':
      return {
        subject: `Confirm your new e-mail address for ${product}`,
        lines: [`Somebody, most likely you, wants to use this address for an account at ${product} from now on.`],
        action: { label: 'Use this address', link: mail.link },
        after: [
          'The link works once, for 24 hours. The other sessions of the account end with it.',
          'If it was not you, do nothing: the account keeps the address it has.',
        ],
      };
    default:
      return newsOf(mail, product);
  }
}

type News = Extract<Mail, { kind: 'password_changed' | 'new_sign_in' | 'email_changed' | 'account_deleted' | 'two_factor_off' }>;

/** What has happened to an account, said to whoever it belongs to. */
function newsOf(mail: News, product: string): Letter {
  switch (mail.kind) {
    case 'password_changed':
      return {
        subject: `Your password for ${product} was changed`,
        lines: [`The password of your account at ${product} was changed just now, and its other sessions were ended.`],
        action: { label: 'Set another password', link: mail.link },
        after: ['If it was you, there is nothing to do. If it was not, set another password at once.'],
      };
    case 'new_sign_in':
      return {
        subject: `New sign-in to ${product}`,
        lines: [
          `Somebody signed in to your account at ${product} from a browser or network we had not seen with it before.`,
          `Time: ${mail.at}`,
          `Network address: ${mail.address}`,
          `Browser: ${mail.device}`,
        ],
        action: { label: 'Look at your sessions', link: mail.link },
        after: ['If it was you, there is nothing to do. If it was not, end that session and set another password.'],
      };
    case 'email_changed':
      return {
        subject: `Your account at ${product} has another e-mail address`,
        lines: [`The address of your account at ${product} was changed just now; this one no longer signs in. Other sessions were ended.`],
        action: { label: 'Sign in', link: mail.link },
        after: ['If it was you, there is nothing to do. If it was not, tell whoever runs this server at once: they can stop the account.'],
      };
    case 'account_deleted':
      return {
        subject: `Your account at ${product} was deleted`,
        lines: [
          `Your account at ${product} was deleted just now, as asked. What the books have to keep no longer says your name or address.`,
        ],
        action: { label: `Go to ${product}`, link: mail.link },
        after: ['If it was not you, tell whoever runs this server at once.'],
      };
    case 'two_factor_off':
      return {
        subject: `Two-factor sign-in was switched off at ${product}`,
        lines: [`Your account at ${product} no longer asks for a second factor. Time: ${mail.at}`],
        action: { label: 'Switch it on again', link: mail.link },
        after: ['If it was you, there is nothing to do. If it was not, set another password at once and switch it on again.'],
      };
  }
}

function textOf({ lines, action, after }: Letter, product: string): string {
  const link = action ? [`${action.label}:\n${action.link}`] : [];
  return `${[...lines, ...link, ...after, `-- \n${product}`].map(plain).join('\n\n')}\n`;
}

/** A name of somebody's choosing stays on its line. */
const plain = (text: string): string => text.replace(/\r/g, '');

function htmlOf({ subject, lines, action, after }: Letter, product: string): string {
  const paragraph = (text: string, colour: string): string => `<p style="margin:0 0 16px;color:${colour}">${escaped(text)}</p>`;
  const button = action
    ? `<p style="margin:24px 0"><a href="${escaped(action.link)}" style="display:inline-block;padding:10px 18px;border-radius:6px;background:#1f2937;color:#ffffff;text-decoration:none;font-weight:600">${escaped(action.label)}</a></p>
<p style="margin:0 0 16px;color:#6b7280;font-size:13px;word-break:break-all">${escaped(action.link)}</p>`
    : '';
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escaped(subject)}</title></head>
<body style="margin:0;padding:32px 16px;background:#f6f7f8;font:15px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif">
<div style="max-width:520px;margin:0 auto;padding:32px;background:#ffffff;border:1px solid #e5e7eb;border-radius:10px">
<h1 style="margin:0 0 20px;font-size:18px;color:#111827">${escaped(subject)}</h1>
${lines.map((line) => paragraph(line, '#111827')).join('\n')}
${button}
${after.map((line) => paragraph(line, '#6b7280')).join('\n')}
<p style="margin:24px 0 0;color:#9ca3af;font-size:13px">${escaped(product)}</p>
</div>
</body>
</html>
`;
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escaped = (text: string): string => text.replace(/[&<>"']/g, (one) => ENTITIES[one] ?? '');
