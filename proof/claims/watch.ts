import { readdirSync, readFileSync } from 'node:fs';

/** What the system says about a process. */
export interface Footprint {
  readonly rssMb: number;
  readonly files: number;
}

export function footprintOf(pid: number): Footprint {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return { rssMb: Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024, files: readdirSync(`/proc/${pid}/fd`).length };
}

interface Sample {
  readonly atMs: number;
  readonly mb: number;
}

/** Memory of some processes over time. */
export class MemoryWatch {
  private readonly samples = new Map<string, Sample[]>();
  private readonly timer: NodeJS.Timeout;

  constructor(pids: () => ReadonlyMap<string, number>, everyMs = 5_000) {
    this.timer = setInterval(() => {
      for (const [name, pid] of pids()) this.note(name, pid);
    }, everyMs);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /**
   * Megabytes an hour, by least squares over the least of every few minutes after `fromMs`, with its standard error: what
   * a collection leaves behind, not how long the next one was put off.
   */
  slopes(
    fromMs: number,
  ): Map<string, { readonly mbPerHour: number; readonly error: number; readonly peakMb: number; readonly lastMb: number }> {
    const found = new Map<string, { mbPerHour: number; error: number; peakMb: number; lastMb: number }>();
    for (const [name, all] of this.samples) {
      const samples = all.filter(({ atMs }) => atMs >= fromMs);
      const peakMb = Math.max(0, ...all.map(({ mb }) => mb));
      found.set(name, { ...slopeOf(leastOfEach(samples)), peakMb, lastMb: all.at(-1)?.mb ?? 0 });
    }
    return found;
  }

  private note(name: string, pid: number): void {
    try {
      const list = this.samples.get(name) ?? [];
      list.push({ atMs: Date.now(), mb: footprintOf(pid).rssMb });
      this.samples.set(name, list);
    } catch {
      // It ended; whoever started it will say so.
    }
  }
}

const HOUR_MS = 3_600_000;
const WINDOW_MS = 180_000;

function leastOfEach(samples: readonly Sample[]): Sample[] {
  const windows = new Map<number, Sample>();
  for (const sample of samples) {
    const window = Math.floor(sample.atMs / WINDOW_MS);
    const least = windows.get(window);
    if (!least || sample.mb < least.mb) windows.set(window, sample);
  }
  return [...windows.values()];
}

function slopeOf(samples: readonly Sample[]): { mbPerHour: number; error: number } {
  if (samples.length < 3) return { mbPerHour: 0, error: 0 };
  const hours = samples.map(({ atMs }) => (atMs - (samples[0]?.atMs ?? 0)) / HOUR_MS);
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanX, meanY] = [mean(hours), mean(samples.map(({ mb }) => mb))];
  const spread = hours.reduce((sum, x) => sum + (x - meanX) ** 2, 0);
  const slope = hours.reduce((sum, x, i) => sum + (x - meanX) * ((samples[i]?.mb ?? 0) - meanY), 0) / spread;
  const rest = hours.reduce((sum, x, i) => sum + ((samples[i]?.mb ?? 0) - meanY - slope * (x - meanX)) ** 2, 0);
  return { mbPerHour: slope, error: Math.sqrt(rest / (samples.length - 2) / spread) };
}
