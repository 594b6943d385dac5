import type { Link } from './link.js';
import { keyParts, Packet } from './packet.js';
import { lookScript } from './scripts.js';
import { allShards } from './topology.js';

const EPOCHS = keyParts(allShards.map((shard) => `{${shard}}:epoch`));

/**
 * One short text that is another one as soon as anything changes about the shards of a server. Every process looks several
 * times a second, and mostly all is as it was; then nothing more is read. Undefined: the epochs have to be read.
 */
export function createLook(): (link: Link) => Promise<string | undefined> {
  const script = lookScript();
  let packet = new Packet();
  let looking: Promise<string | undefined> | undefined;
  const look = async (link: Link): Promise<string | undefined> => {
    try {
      const reply = await link.run(script, (name, body) => {
        packet.clear();
        packet.parts(3 + allShards.length);
        packet.text(name);
        packet.text(body);
        packet.text(String(allShards.length));
        packet.bytes(EPOCHS);
        return packet.command(name);
      });
      return String(reply);
    } catch {
      // What was written may still be on its way; and whatever is wrong, reading them says it.
      packet = new Packet();
      return undefined;
    } finally {
      looking = undefined;
    }
  };
  return (link) => {
    // The packet is written again only after its answer.
    looking ??= look(link);
    return looking;
  };
}
