import { join } from 'node:path';
import { z } from 'zod';
import { fromSource } from '../../test/from-source.ts';
import { jsonLine, startProgram } from '../../test/system.ts';

const bareEvent = z.object({
  action: z.string(),
  id: z.string(),
  /** Unix milliseconds: by the engine, and when the line had arrived. */
  happenedMs: z.number(),
  arrivedMs: z.number(),
});

type BareEvent = z.output<typeof bareEvent>;

/** The process that does nothing but read events. */
export interface BareReader {
  /** The next event with this action that happens from now on; with an id the one about that container, also when it was before. */
  next(action: string, id?: string): Promise<BareEvent>;
  stop(): Promise<void>;
}

/** @param forbidden image whose containers it kills as soon as they start; without one it only reads. */
export async function startBareReader(socketPath: string, forbidden?: string): Promise<BareReader> {
  const script = join(import.meta.dirname, 'bare-events.ts');
  const args = [...fromSource(script), socketPath, ...(forbidden === undefined ? [] : [forbidden])];
  const program = startProgram({ name: 'bare reader', command: process.execPath, args });
  await program.find('listens', (line) => jsonLine(line)?.ready);
  return {
    next: (action, id) => {
      const sinceMs = Date.now();
      return program.find(`hears of a ${action}`, (line) => {
        const { data } = bareEvent.safeParse(jsonLine(line));
        const isIt = data?.action === action && (id === undefined ? data.happenedMs >= sinceMs : data.id === id);
        return isIt ? data : undefined;
      });
    },
    stop: () => program.stop(),
  };
}
