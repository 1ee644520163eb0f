import type pg from 'pg';
import type { Tx } from './pool.ts';

/** One statement of a {@link runTogether}. */
export interface Step {
  readonly text: string;
  readonly values?: readonly (string | number | Buffer | null)[];
  /** For `COPY ... FROM STDIN`: what `CopyRows.messages` made. */
  readonly copy?: Buffer;
}

/**
 * Runs statements one after the other without waiting for any answer but the last. Outside a transaction they are one
 * of their own, committed when this resolves: the server makes one of all that comes before the next Sync, and skips what follows the
 * first error (PostgreSQL's manual, "Pipelining" in the chapter on its protocol). Inside one they are part of it.
 * @param onFirst called once the first statement is done, before the others are.
 * @throws what the server says of the first statement that failed.
 */
export function runTogether(client: Tx, steps: readonly Step[], onFirst: () => void = () => {}): Promise<void> {
  return new Promise((resolve, reject) => {
    let waitingForFirst = true;
    client.query({
      submit: (connection: pg.Connection) => send(connection, steps),
      handleCommandComplete: () => {
        if (waitingForFirst) onFirst();
        waitingForFirst = false;
      },
      handleRowDescription: () => {},
      handleDataRow: () => {},
      handleCopyInResponse: () => {},
      handleError: reject,
      handleReadyForQuery: () => resolve(),
    });
  });
}

function send(connection: pg.Connection, steps: readonly Step[]): void {
  const { stream } = connection;
  stream.cork();
  for (const [at, { text, values = [], copy }] of steps.entries()) {
    connection.parse({ name: '', text, types: [] }, true);
    connection.bind({ values: values.map(asParameter) }, true);
    connection.execute({}, true);
    if (copy !== undefined) stream.write(copy);
    if (at === 0) connection.flush();
  }
  connection.sync();
  stream.uncork();
}

function asParameter(value: string | number | Buffer | null): string | Buffer | null {
  return typeof value === 'number' ? String(value) : value;
}
