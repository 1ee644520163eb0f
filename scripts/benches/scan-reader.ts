import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { fromSource } from '../../test/from-source.ts';
import { programs } from '../../test/system/program.ts';
import { jsonLine, startProgram } from '../../test/system.ts';
import { forgetPeak, peakRssMb } from './processes.ts';
import type { Reading } from './sigil-reader.ts';
import { storeSecret } from './store-cache.ts';

const readDeadlineMs = 15 * 60_000;

export const ways = ['raw', 'plain', 'checksums', 'two-threads', 'signatures'] as const;
export type Way = (typeof ways)[number];

const readingSchema = z.object({
  nth: z.number(),
  records: z.number(),
  bad: z.number(),
  wallMs: z.number(),
  cpuMs: z.number(),
});

/** Whether it is the scanner that reads. */
export function isOurs(way: Way): boolean {
  return way !== 'raw' && way !== 'plain';
}

/** The scanner runs with the options that the agent runs with, the others with none. */
export async function startReader(way: Way, store: string) {
  const file = join(import.meta.dirname, 'sigil-reader.ts');
  const args = [...(isOurs(way) ? agentOptions() : []), ...fromSource(file), way, store, storeSecret];
  const reader = startProgram({ name: `${way} reader`, command: process.execPath, args });
  await reader.find('is ready', (line) => line === 'ready' || undefined);
  let asked = 0;
  const read = async () => {
    forgetPeak(reader.pid);
    const idleMb = peakRssMb(reader.pid);
    asked += 1;
    reader.send('read');
    const reading = await reader.find('has read the store', nthReading(asked), readDeadlineMs);
    return { reading, overIdleMb: peakRssMb(reader.pid) - idleMb };
  };
  return { read, stop: () => reader.stop() };
}

function nthReading(nth: number): (line: string) => Reading | undefined {
  return (line) => {
    const { data } = readingSchema.safeParse(jsonLine(line));
    return data?.nth === nth ? data : undefined;
  };
}

/** Node's options in the first line of the built agent. */
function agentOptions(): string[] {
  const [first = ''] = readFileSync(programs.agent, 'utf8').split('\n', 1);
  return first.split(' ').filter((word) => word.startsWith('--'));
}
