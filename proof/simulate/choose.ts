import { DRAINS, GATEWAYS, HEALS, LEASE_MS, ORGS, orgName, requestName, SHARDS, TOKENS, tokenName } from './cast.js';
import type { Fault } from './faults.js';
import type { Gateway, Running } from './gateway.js';
import type { Random } from './random.js';
import type { World } from './world.js';

const IN_THE_AIR_MAX = 24;
const GHOSTS_MAX = 16;
const RUNNING_MAX = 6;

/** Makes up the next line of a script from what is going on. All chance comes from one seed. */
export class Chooser {
  private requests = 0;
  private readonly world: World;
  private readonly random: Random;
  private readonly faults: ReadonlySet<Fault>;

  constructor(world: World, random: Random, faults: ReadonlySet<Fault>) {
    this.world = world;
    this.random = random;
    this.faults = faults;
  }

  next(): string {
    const { world, random } = this;
    const { waiting, answered, ghosts } = world.wire;
    if (ghosts.length > GHOSTS_MAX) return this.ghost();
    if (waiting.length + answered.length > IN_THE_AIR_MAX) return this.network();
    const at = random.below(1000);
    if (at < 480) return waiting.length + answered.length + ghosts.length > 0 ? this.network() : this.client();
    if (at < 740) return this.client();
    if (at < 900) return this.worker();
    if (at < 950) return `tick ${random.chance(6) ? LEASE_MS + 750 : random.between(1, 4) * 500}`;
    if (at < 965) return this.operator();
    return this.fault();
  }

  private network(): string {
    const { random } = this;
    const { waiting, answered, ghosts } = this.world.wire;
    const at = random.below(waiting.length + answered.length + Math.min(ghosts.length, 2));
    if (at >= waiting.length + answered.length) return this.ghost();
    const answer = answered[at - waiting.length];
    const noisy = this.faults.has('network');
    if (at >= waiting.length && answer) return `${noisy && random.chance(10) ? 'mute' : 'tell'} ${answer.key}`;
    const key = waiting[at]?.key ?? '';
    if (!noisy || random.chance(80)) return `${noisy && random.chance(15) ? 'run' : 'call'} ${key}`;
    return `${random.pick(['copy', 'copy', 'run', 'late', 'lose', 'cut'])} ${key}`;
  }

  private ghost(): string {
    const ghost = this.random.pick(this.world.wire.ghosts);
    return `${this.random.chance(75) ? 'ghost' : 'fade'} ${ghost?.key ?? '-'}`;
  }

  private client(): string {
    const { random } = this;
    const gateway = this.pickGateway();
    if (!gateway.up) return `boot ${gateway.name}`;
    const running = [...gateway.running.values()].filter(({ state }) => state === 'running');
    const request = random.pick(running);
    if (gateway.running.size < RUNNING_MAX && (!request || random.chance(45))) return this.ask(gateway);
    if (!request) return `watch ${gateway.name}`;
    return this.carryOn(gateway, request);
  }

  private ask(gateway: Gateway): string {
    const { random } = this;
    this.requests += 1;
    const amount = random.chance(3) ? 0 : random.chance(6) ? random.between(2_000, 30_000) : random.between(1, 1_800);
    return `ask ${gateway.name} r${this.requests} ${tokenName(random.pick(TOKENS) ?? (TOKENS[0] as never))} ${amount}`;
  }

  private carryOn(gateway: Gateway, request: Running): string {
    const { random, world } = this;
    const to = `${gateway.name} ${requestName(request.requestId)}`;
    const at = random.below(10);
    if (at < 2) return `checkpoint ${to}`;
    if (at < 5) {
      const floor = Math.min(request.amount, request.floor + random.below(Math.ceil(request.amount / 3) + 1));
      const more = !world.strict && random.chance(30) ? Math.ceil(request.amount * 1.5) : request.amount;
      return `beat ${to} ${floor} ${more}`;
    }
    const most = world.strict ? request.amount : Math.ceil(request.amount * 1.3);
    const cost = random.chance(10) ? request.amount : random.between(request.floor, Math.max(request.floor, most));
    return `end ${to} ${cost}`;
  }

  private worker(): string {
    const { random, world } = this;
    const shard = random.pick(SHARDS) ?? '00';
    const drain = random.pick([...world.drains.values()]);
    const heal = random.pick([...world.heals.values()]);
    const gateway = this.pickGateway();
    const at = random.below(100);
    if (at < 45) {
      if (!drain?.batch) return `drain ${drain?.name} ${shard}`;
      return `post ${drain.name} ${this.faults.has('leaders') && random.chance(8) ? 'unheard' : 'heard'}`;
    }
    if (at < 50) return `trim ${drain?.name} ${shard} ${random.pick([300_000, 60_000, 30_000])}`;
    if (at < 70) {
      const steps = {
        idle: `heal ${heal?.name} ${shard}`,
        filling: heal?.isClosed && random.chance(70) ? `expect ${heal.name}` : `read ${heal?.name}`,
        named: `serve ${heal?.name}`,
        read: random.chance(60)
          ? `load ${heal?.name} ${orgName(random.pick(heal?.unloaded ?? []) ?? (ORGS[0] as never))}`
          : `load ${heal?.name}`,
        loaded: `open ${heal?.name}`,
      };
      return heal && heal.phase in steps ? steps[heal.phase as keyof typeof steps] : `tick 500`;
    }
    if (at < 74) return `sweep ${shard}`;
    if (at < 77) return 'repair';
    if (!gateway.up) return `boot ${gateway.name}`;
    const unsent = random.pick([...gateway.waiting.keys()]);
    if (at < 81 && unsent) return `retry ${gateway.name} ${requestName(unsent)}`;
    if (at < 85 && gateway.again.size > 0) return `say ${gateway.name}`;
    return at < 89 ? `watch ${gateway.name}` : `confirm ${gateway.name} ${orgName(random.pick(ORGS) ?? (ORGS[0] as never))}`;
  }

  private operator(): string {
    const { random } = this;
    const org = orgName(random.pick(ORGS) ?? (ORGS[0] as never));
    const token = tokenName(random.pick(TOKENS) ?? (TOKENS[0] as never));
    const at = random.below(100);
    if (at < 50) return `grant ${org} ${random.between(1_000, 16_000)}`;
    if (at < 58) return `void ${org} ${random.between(100, 2_000)}`;
    if (at < 66) return `org ${org} status ${random.chance(60) ? 'active' : 'suspended'}`;
    if (at < 72) return `org ${org} limit ${random.chance(50) ? 'none' : random.between(20_000, 90_000)}`;
    if (at < 76) return `org ${org} overdraft ${random.pick([0, 0, 1_000])}`;
    if (at < 86) return `token ${token} status ${random.chance(6) ? 'revoked' : random.chance(65) ? 'active' : 'paused'}`;
    if (at < 90) return `token ${token} quota ${random.chance(60) ? 'none' : random.between(10_000, 60_000)}`;
    if (at < 95) return `token ${token} member ${random.chance(35) ? 'none' : random.between(12_000, 60_000)}`;
    return `token ${token} concurrency ${random.pick([0, 0, 3])}`;
  }

  private fault(): string {
    const { random, world } = this;
    const kind = random.pick([...this.faults]);
    const gateway = this.pickGateway();
    const rare = random.chance(12);
    if (world.books.away && random.chance(50)) return 'outage ends';
    if (kind === 'crash' && random.chance(25))
      return `crash ${gateway.name} ${random.pick(['torn', 'whole'])} ${random.pick(['dropped', 'kept'])}`;
    if (kind === 'leaders' && random.chance(40)) return `kill ${random.pick([...DRAINS, ...HEALS])}`;
    if (kind === 'outage' && random.chance(20)) return 'outage begins';
    if (kind === 'wipe' && rare) return 'wipe';
    if (kind === 'damage' && random.chance(15)) {
      const who = random.chance(50)
        ? orgName(random.pick(ORGS) ?? (ORGS[0] as never))
        : tokenName(random.pick(TOKENS) ?? (TOKENS[0] as never));
      return `damage ${who} ${random.pick(['evicted', 'junk'])}`;
    }
    if (kind === 'rollback') return rare ? 'rollback' : random.chance(20) ? 'snapshot' : 'tick 500';
    return 'tick 500';
  }

  private pickGateway(): Gateway {
    const gateway = this.world.gateways.get(this.random.pick(GATEWAYS) ?? '');
    if (!gateway) throw new Error('there is no gateway');
    return gateway;
  }
}
