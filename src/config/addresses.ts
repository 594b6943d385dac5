import { isIP } from 'node:net';

/**
 * Says what is wrong with a `base_url`, or nothing. Private and loopback addresses are the operator's business; only the
 * metadata services of clouds are refused, because a typo there hands out the machine's own credentials.
 */
export function baseUrlProblem(text: string): string | undefined {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return 'something that is not a URL';
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return `the scheme "${url.protocol}"`;
  if (url.username || url.password) return 'a URL with credentials in it';
  if (url.search || url.hash) return 'a URL with a query or fragment';
  if (isMetadataHost(url.hostname)) return 'the address of a cloud metadata service';
  return undefined;
}

const NAMES: ReadonlySet<string> = new Set([
  'metadata.google.internal',
  'metadata',
  'metadata.goog',
  'instance-data',
  'instance-data.ec2.internal',
]);
const FOUR: ReadonlySet<string> = new Set(['169.254.169.254', '169.254.170.2', '169.254.170.23', '100.100.100.200', '192.0.0.192']);
const SIX: ReadonlySet<string> = new Set(['fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254']);

/** `URL` has already turned decimal, hexadecimal and octal forms into dotted ones, and IPv6 into its shortest form. */
function isMetadataHost(hostname: string): boolean {
  const host = hostname
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.+$/, '');
  if (NAMES.has(host) || FOUR.has(host) || SIX.has(host)) return true;
  return isIP(host) === 6 && FOUR.has(embedded(host) ?? '');
}

/** The IPv4 address inside an IPv6 one: mapped, compatible, NAT64 and 6to4 forms. */
function embedded(host: string): string | undefined {
  const groups = expand(host);
  const prefix = groups
    .slice(0, 6)
    .map((group) => group.toString(16))
    .join(':');
  if (groups[0] === 0x2002) return dotted(groups[1] ?? 0, groups[2] ?? 0);
  if (['0:0:0:0:0:ffff', '0:0:0:0:0:0', '0:0:0:0:ffff:0', '64:ff9b:0:0:0:0'].includes(prefix))
    return dotted(groups[6] ?? 0, groups[7] ?? 0);
  return undefined;
}

function expand(host: string): number[] {
  const [head = '', tail] = host.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const middle = tail === undefined ? [] : Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0');
  return [...left, ...middle, ...right].map((group) => Number.parseInt(group, 16));
}

const dotted = (high: number, low: number): string => [high >> 8, high & 255, low >> 8, low & 255].join('.');
