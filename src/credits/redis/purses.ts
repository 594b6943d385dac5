import { type OrgId, shardOf, type TokenId } from '../../domain/ids.js';
import type { Epochs, Slot } from './epochs.js';
import type { Checked, Ids } from './kinds.js';
import { keyParts } from './packet.js';

/** Keys as they are sent, and which of their sort they are in the batch that is being packed, from 1. */
export interface Place {
  readonly keys: Buffer;
  batch: number;
  ordinal: number;
}

/** Where a token spends: its own key, and the two of its organization. */
export interface Purse extends Ids {
  readonly orgId: OrgId;
  readonly slot: Slot;
  readonly org: Place;
  readonly token: Place;
  checked: Checked | undefined;
  /** All tokens that share the quota of this one's member, as the script last asked for them. */
  sharers: readonly Place[];
}

export interface Purses {
  of(orgId: OrgId, tokenId: TokenId): Purse;
  tokenAt(tokenId: TokenId): Place;
}

const KEPT_MAX = 20_000;
const NOBODY: readonly Place[] = [];

export function createPurses(epochs: Epochs): Purses {
  const purses = recent<Purse>();
  const orgs = recent<Place>();
  const tokens = recent<Place>();
  const tokenAt = (tokenId: TokenId): Place => tokens(tokenId, () => place([`{${shardOf(tokenId)}}:token:${tokenId}`]));
  const of = (orgId: OrgId, tokenId: TokenId): Purse => {
    const shard = shardOf(orgId);
    const org = orgs(orgId, () => place([`{${shard}}:org:${orgId}`, `{${shard}}:requests:${orgId}`]));
    const [orgBytes, tokenBytes] = [Buffer.from(orgId, 'latin1'), Buffer.from(tokenId, 'latin1')];
    return { orgId, orgBytes, tokenBytes, slot: epochs.slot(shard), org, token: tokenAt(tokenId), checked: undefined, sharers: NOBODY };
  };
  return {
    tokenAt,
    of: (orgId, tokenId) =>
      purses(
        tokenId,
        () => of(orgId, tokenId),
        (known) => known.orgId === orgId,
      ),
  };
}

const place = (keys: readonly string[]): Place => ({ keys: keyParts(keys), batch: 0, ordinal: 0 });

/**
 * A bounded memory that forgets the older half at a time. Whoever waits in a queue is never forgotten meanwhile: the same
 * key would get a second place in a batch, and what one of them counted would be overwritten by the other.
 */
function recent<T>(): (name: string, make: () => T, fits?: (known: T) => boolean) => T {
  let now = new Map<string, T>();
  let before = new Map<string, T>();
  return (name, make, fits) => {
    const known = now.get(name);
    if (known !== undefined && (!fits || fits(known))) return known;
    const older = known === undefined ? before.get(name) : undefined;
    const value = older !== undefined && (!fits || fits(older)) ? older : make();
    if (now.size >= KEPT_MAX) [before, now] = [now, new Map()];
    now.set(name, value);
    return value;
  };
}
