import { type Answer, type Answers, type Call, type Commands, TIMEOUT, UNREACHABLE, type Verb } from './calls.js';

/** One call between somebody and the store. */
export interface Message {
  readonly key: string;
  readonly owner: string;
  readonly call: Call;
  readonly hear: (answer: Answer) => void;
  answer: Answer | undefined;
}

/**
 * The network: calls that wait to be run, answers that wait to be told, and ghosts, which are calls nobody waits for any
 * more and which may still be run. A key names a message by who asks what about whom for the how-manieth time, so that
 * a script means the same after other parts of it were taken away.
 */
export class Wire {
  waiting: Message[] = [];
  answered: Message[] = [];
  ghosts: Message[] = [];
  private readonly counts = new Map<string, number>();

  send<V extends Verb>(
    owner: string,
    to: { readonly verb: V; readonly about: string; readonly command: Commands[V] },
    hear: (answer: Answers[V]) => void,
  ): void {
    const name = `${owner}.${to.verb}.${to.about}`;
    const count = (this.counts.get(name) ?? 0) + 1;
    this.counts.set(name, count);
    const call = { verb: to.verb, command: to.command } as unknown as Call;
    this.waiting.push({ key: `${name}#${count}`, owner, call, hear: hear as (answer: Answer) => void, answer: undefined });
  }

  takeWaiting(key: string): Message | undefined {
    return takeFrom(this.waiting, key);
  }

  takeAnswered(key: string): Message | undefined {
    return takeFrom(this.answered, key);
  }

  takeGhost(key: string): Message | undefined {
    return takeFrom(this.ghosts, key);
  }

  /** Whoever asked is gone: what was sent may still arrive, what was answered is heard by nobody. */
  orphan(owner: string): void {
    this.ghosts.push(...this.waiting.filter((one) => one.owner === owner));
    this.waiting = this.waiting.filter((one) => one.owner !== owner);
    this.answered = this.answered.filter((one) => one.owner !== owner);
  }

  copy(key: string): boolean {
    const original = this.waiting.find((one) => one.key === key);
    if (!original) return false;
    const copies = this.ghosts.filter((one) => one.key.startsWith(`${key}~`)).length;
    this.ghosts.push({ ...original, key: `${key}~${copies + 1}` });
    return true;
  }

  /** The asker gives up; what it sent may still be run. */
  late(key: string): boolean {
    const message = this.takeWaiting(key);
    if (!message) return false;
    this.ghosts.push(message);
    message.hear(TIMEOUT);
    return true;
  }

  lose(key: string, known: boolean): boolean {
    const message = this.takeWaiting(key);
    message?.hear(known ? UNREACHABLE : TIMEOUT);
    return message !== undefined;
  }

  mute(key: string): boolean {
    const message = this.takeAnswered(key);
    message?.hear(TIMEOUT);
    return message !== undefined;
  }
}

function takeFrom(list: Message[], key: string): Message | undefined {
  const at = list.findIndex((one) => one.key === key);
  return at < 0 ? undefined : list.splice(at, 1)[0];
}
