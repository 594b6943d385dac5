import { BlockList, isIP, isIPv6 } from 'node:net';

/** Addresses of clients: ranges as people write them, and who is really asking when a proxy stands in between. */

export function isRange(text: string): boolean {
  const match = /^([0-9A-Fa-f.:]{2,45})(?:\/(\d{1,3}))?$/.exec(text);
  const family = isIP(match?.[1] ?? '');
  return family !== 0 && (match?.[2] === undefined || Number(match[2]) <= (family === 4 ? 32 : 128));
}

const lists = new WeakMap<readonly string[], BlockList>();

/** True when the address is in one of the ranges, or there are none. An address that cannot be read is in no range. */
export function mayComeFrom(ranges: readonly string[] | null, address: string | undefined): boolean {
  return ranges === null || (address !== undefined && isIn(ranges, address));
}

function isIn(ranges: readonly string[], address: string): boolean {
  const plain = plainAddress(address);
  if (plain === undefined || ranges.length === 0) return false;
  let list = lists.get(ranges);
  if (!list) {
    list = new BlockList();
    for (const range of ranges) addRange(list, range);
    lists.set(ranges, list);
  }
  return list.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4');
}

/** A range that cannot be read allows nobody. */
function addRange(list: BlockList, range: string): void {
  const [net = '', bits] = range.split('/');
  const family = isIPv6(net) ? 'ipv6' : 'ipv4';
  try {
    if (bits === undefined) list.addAddress(net, family);
    else list.addSubnet(net, Number(bits), family);
  } catch {
    return;
  }
}

export interface Hops {
  /** The other end of the connection. */
  readonly peer: string | undefined;
  /** `X-Forwarded-For`: each proxy adds on the right whom it was asked by; what is left of that anybody may have written. */
  readonly forwarded: string | undefined;
  /** Ranges of the proxies whose word counts. */
  readonly trusted: readonly string[];
}

/** Who asks: read from the right, the first that is no proxy of ours. Without a proxy of ours the header says nothing. */
export function clientAddress({ peer, forwarded, trusted }: Hops): string | undefined {
  if (peer === undefined || forwarded === undefined || trusted.length === 0) return peer;
  let address = peer;
  for (let end = forwarded.length; end >= 0 && isIn(trusted, address); ) {
    const comma = end === 0 ? -1 : forwarded.lastIndexOf(',', end - 1);
    const before = plainAddress(forwarded.slice(comma + 1, end));
    // What a proxy of ours did not write as an address is nobody; the last one who is somebody stays.
    if (before === undefined) break;
    address = before;
    end = comma;
  }
  return address;
}

/** `1.2.3.4`, `1.2.3.4:567`, `2001:db8::1`, `[2001:db8::1]:443`; IPv4 inside IPv6 as what it is; undefined = no address. */
function plainAddress(text: string): string | undefined {
  const trimmed = text.trim();
  const bare = /^\[([^\]]{2,45})\](?::\d{1,5})?$/.exec(trimmed)?.[1] ?? /^([\d.]{7,15}):\d{1,5}$/.exec(trimmed)?.[1] ?? trimmed;
  const [address = ''] = bare.split('%');
  if (isIP(address) === 0) return undefined;
  const mapped = /^::ffff:([\d.]{7,15})$/i.exec(address)?.[1];
  return mapped ?? address;
}
