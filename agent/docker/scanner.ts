import pLimit from 'p-limit';
import { type AppError, toAppError } from '../../common/errors.ts';
import type { Engine, InspectedContainer } from './engine.ts';
import { givingUp } from './giving-up.ts';

export interface ScanOptions {
  /** Inspections under way at one time. */
  readonly concurrency: number;
}

/** A container that is there but could not be looked at: neither compliant nor gone. */
export interface UnobservedContainer {
  readonly id: string;
  /** As the engine lists it; null when it has none. */
  readonly name: string | null;
  readonly error: AppError;
}

export interface ContainerScan {
  /** By container id. */
  readonly containers: ReadonlyMap<string, InspectedContainer>;
  readonly unobserved: readonly UnobservedContainer[];
}

/**
 * Everything in the engine's scope, listed and inspected. A container that vanishes in between is simply not part of it;
 * one that cannot be inspected is `unobserved` and hides no other.
 * @throws AppError `engine.unreachable` or `engine.answer` when not even the list could be had
 */
export async function scanContainers(engine: Engine, options: ScanOptions): Promise<ContainerScan> {
  const listed = await engine.list();
  const containers = new Map<string, InspectedContainer>();
  const unobserved: UnobservedContainer[] = [];
  const inspect = givingUp((id) => engine.inspect(id), options.concurrency);

  const observe = async ([id, name]: readonly [string, string | null]): Promise<void> => {
    try {
      const container = await inspect(id);
      if (container !== undefined) containers.set(id, container);
    } catch (thrown) {
      unobserved.push({ id, name, error: toAppError(thrown) });
    }
  };

  await pLimit(options.concurrency).map([...listed], observe);
  return { containers, unobserved };
}
