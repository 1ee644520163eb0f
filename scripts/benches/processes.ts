import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

/** Ticks per second in `/proc/PID/stat`: part of the kernel's interface to programs, whatever its own timer does. */
const ticksPerSecond = 100;
const sampleEveryMs = 1_000;

/** What a process and all its children use now. */
export interface Usage {
  /** Resident memory in MB (2^20 bytes). */
  readonly rssMb: number;
  /** Processor time since the start, in seconds; children that have ended included. */
  readonly cpuSeconds: number;
}

/** @throws when the process is gone */
export function usageOf(pid: number): Usage {
  const usages = [usageOfOne(pid), ...childrenOf(pid).flatMap(usageIfThere)];
  return {
    rssMb: usages.reduce((sum, { rssMb }) => sum + rssMb, 0),
    cpuSeconds: usages.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
  };
}

/** Most resident memory the process itself ever had, in MB, since its start or `forgetPeak`. */
export function peakRssMb(pid: number): number {
  return statusMb(pid, 'VmHWM');
}

export function forgetPeak(pid: number): void {
  // "5" resets the peak resident set size (proc_pid_clear_refs(5)).
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

/** Most memory and all processor time over a stretch of time. */
export interface Sampled {
  readonly seconds: number;
  /** Largest of the samples taken each second. */
  readonly rssMb: number;
  readonly cpuSeconds: number;
}

/** Samples until stopped. */
export function sample(pid: number): { stop(): Sampled } {
  const startedMs = performance.now();
  const first = usageOf(pid);
  let rssMb = first.rssMb;
  const look = (): Usage => {
    const usage = usageOf(pid);
    rssMb = Math.max(rssMb, usage.rssMb);
    return usage;
  };
  const timer = setInterval(look, sampleEveryMs);
  return {
    stop: () => {
      clearInterval(timer);
      const { cpuSeconds } = look();
      const seconds = (performance.now() - startedMs) / 1000;
      return { seconds, rssMb, cpuSeconds: cpuSeconds - first.cpuSeconds };
    },
  };
}

function usageOfOne(pid: number): Usage {
  // After the name in parentheses: state is field 3, utime to cstime are 14 to 17 (proc_pid_stat(5)).
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return { rssMb: statusMb(pid, 'VmRSS'), cpuSeconds: ticks / ticksPerSecond };
}

function usageIfThere(pid: number): Usage[] {
  try {
    return [usageOfOne(pid)];
  } catch {
    return [];
  }
}

function childrenOf(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) => {
    const text = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim();
    return text === '' ? [] : text.split(' ').map(Number);
  });
  return children.flatMap((child) => [child, ...childrenIfThere(child)]);
}

function childrenIfThere(pid: number): number[] {
  try {
    return childrenOf(pid);
  } catch {
    return [];
  }
}

/** A process that is about to end has no memory left, and no line for it. */
function statusMb(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const [, kib = '0'] = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status) ?? [];
  return Number(kib) / 1024;
}

/** @throws when the process is gone */
export function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN);
}
