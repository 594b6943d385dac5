/**
 * How long answers may keep one turn of the event loop. The runtime reads megabytes of a fast answer in a turn, and what is done with
 * them depends on what is in them; whoever has had its share goes on in a later turn, after everybody else.
 */
const SHARE_MS = 10;
/** Smaller pieces, those of a model that writes, cost less than asking what time it is. */
const LARGE_BYTES = 4 * 1024;

/** When the first large piece of this turn came. */
let sinceMs = 0;
let isCounting = false;
let isArmed = false;
let waiting: (() => void)[] = [];

/** Called before each piece that comes; true when `isShareUsed` should be asked after it. */
export function begins(bytes: number): boolean {
  if (bytes < LARGE_BYTES) return false;
  if (!isCounting) {
    isCounting = true;
    sinceMs = performance.now();
    arm();
  }
  return true;
}

export const isShareUsed = (): boolean => performance.now() - sinceMs >= SHARE_MS;

/** Goes on when it is this one's turn. */
export function later(goOn: () => void): void {
  waiting.push(goOn);
  arm();
}

function arm(): void {
  if (isArmed) return;
  isArmed = true;
  setImmediate(turnEnds);
}

/** What was read in this turn and those who wait share it; each of them goes on for one piece at least, then waits behind the others. */
function turnEnds(): void {
  isArmed = false;
  const isOver = isCounting && isShareUsed();
  isCounting = false;
  if (isOver) {
    if (waiting.length > 0) arm();
    return;
  }
  const queue = waiting;
  waiting = [];
  let at = 0;
  for (let next = queue[at]; next && !(isCounting && isShareUsed()); next = queue[++at]) next();
  waiting = [...queue.slice(at), ...waiting];
  if (waiting.length > 0) arm();
}
