type Waiting<C> = { readonly call: C } | { readonly run: () => Promise<void> };

/**
 * Everything that touches the outbox passes here, one at a time and in the order it was asked for. Calls that stand next
 * to each other may be taken together (group commit); an operation is never overtaken in either direction.
 */
export interface Lane<C> {
  /** Queues a call for the group function. */
  submit(call: C): void;
  /** Queues an operation; its outcome is the operation's. */
  run<T>(operation: () => Promise<T>): Promise<T>;
  /** Calls and operations not yet begun. */
  readonly waiting: number;
}

/**
 * @param commitGroup takes one or more calls with `take` (undefined when the next in line is none) and settles them;
 * it must not throw.
 */
export function createLane<C>(commitGroup: (take: () => C | undefined) => Promise<void>): Lane<C> {
  const queue: Waiting<C>[] = [];
  let pumping = false;

  const take = (): C | undefined => {
    const next = queue[0];
    if (next === undefined || !('call' in next)) return undefined;
    queue.shift();
    return next.call;
  };
  const pump = async (): Promise<void> => {
    for (let next = queue[0]; next !== undefined; next = queue[0]) {
      if ('call' in next) {
        await commitGroup(take);
      } else {
        queue.shift();
        await next.run();
      }
    }
    pumping = false;
  };
  const enqueue = (waiting: Waiting<C>): void => {
    queue.push(waiting);
    if (pumping) return;
    pumping = true;
    // Callers of the same turn join the first group.
    queueMicrotask(pump);
  };

  return {
    submit: (call) => enqueue({ call }),
    run: (operation) =>
      new Promise((resolve, reject) => {
        enqueue({ run: () => operation().then(resolve, reject) });
      }),
    get waiting() {
      return queue.length;
    },
  };
}
