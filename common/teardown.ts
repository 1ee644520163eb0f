import type { Logger } from './log.ts';

/** What was opened, to be closed in reverse order. */
export interface Teardown {
  /** Notes how to close what has just been opened. */
  add(name: string, close: () => Promise<unknown>): void;
  /** Closes everything, last opened first; one that fails is logged and does not stop the others. Runs once. */
  run(): Promise<void>;
}

export function createTeardown(logger: Logger): Teardown {
  const steps: { name: string; close: () => Promise<unknown> }[] = [];
  let running: Promise<void> | undefined;
  const closeAll = async () => {
    for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
      const { name } = step;
      await step.close().catch((error: unknown) => logger.error('stop.failed', { name, error }));
    }
  };
  return {
    add: (name, close) => {
      steps.push({ name, close });
    },
    run: () => {
      running ??= closeAll();
      return running;
    },
  };
}
