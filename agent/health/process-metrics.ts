import { readdir } from 'node:fs/promises';
import { Counter, Gauge, type Registry } from 'prom-client';

/**
 * The process metrics of every Prometheus client, under their standard names, read when somebody asks.
 *
 * Not prom-client's own default metrics: those measure the event loop with a timer that fires every ten milliseconds,
 * which is most of what an idle agent would do, and look at every garbage collection.
 */
export function registerProcessMetrics(registry: Registry): void {
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number) => {
    const made: Gauge = new Gauge({ name, help, registers, collect: () => made.set(read()) });
  };
  const cpu: Counter = new Counter({
    name: 'process_cpu_seconds_total',
    help: 'User and system processor time spent.',
    registers,
    collect: () => {
      const { user, system } = process.cpuUsage();
      cpu.reset();
      cpu.inc((user + system) / 1e6);
    },
  });
  const startedSeconds = performance.timeOrigin / 1000;
  gauge('process_start_time_seconds', 'Start of the process, seconds since 1970.', () => startedSeconds);
  gauge('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss());
  gauge('nodejs_heap_size_total_bytes', 'JavaScript heap.', () => process.memoryUsage().heapTotal);
  gauge('nodejs_heap_size_used_bytes', 'JavaScript heap in use.', () => process.memoryUsage().heapUsed);
  gauge('nodejs_external_memory_bytes', 'Memory of buffers beside the heap.', () => process.memoryUsage().external);
  registerOpenFiles(registry);
}

/** Linux tells them; elsewhere the metric is not there, as with other clients. */
function registerOpenFiles(registry: Registry): void {
  if (process.platform !== 'linux') return;
  const made: Gauge = new Gauge({
    name: 'process_open_fds',
    help: 'Open file descriptors.',
    registers: [registry],
    collect: async () => {
      // One of them is that of the folder being read.
      made.set((await readdir('/proc/self/fd')).length - 1);
    },
  });
}
