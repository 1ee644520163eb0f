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
    let statements: Statements | undefined;
    client.query({
      submit: (connection: pg.Connection) => {
        statements = statementsOf(connection);
        send(connection, steps, statements);
      },
      handleCommandComplete: () => {
        if (waitingForFirst) onFirst();
        waitingForFirst = false;
      },
      handleRowDescription: () => {},
      handleDataRow: () => {},
      handleCopyInResponse: () => {},
      handleError: (error: unknown) => {
        // Which of them were parsed before the server gave up is not known: they are all given other names.
        statements?.forget();
        reject(error);
      },
      handleReadyForQuery: () => resolve(),
    });
  });
}

/** The statements that a connection knows: they are sent, parsed and planned once, not with every commit. */
class Statements {
  readonly #names = new Map<string, string>();
  #given = 0;

  /** @returns the name, and whether the server has to be told what it means. */
  of(text: string): { name: string; isNew: boolean } {
    const known = this.#names.get(text);
    if (known !== undefined) return { name: known, isNew: false };
    this.#given += 1;
    const name = `step_${this.#given}`;
    this.#names.set(text, name);
    return { name, isNew: true };
  }

  forget(): void {
    this.#names.clear();
  }
}

const statementsByConnection = new WeakMap<pg.Connection, Statements>();

function statementsOf(connection: pg.Connection): Statements {
  const statements = statementsByConnection.get(connection) ?? new Statements();
  statementsByConnection.set(connection, statements);
  return statements;
}

function send(connection: pg.Connection, steps: readonly Step[], statements: Statements): void {
  const { stream } = connection;
  stream.cork();
  for (const [at, { text, values = [], copy }] of steps.entries()) {
    const { name, isNew } = statements.of(text);
    if (isNew) connection.parse({ name, text, types: [] }, true);
    connection.bind({ statement: name, values: values.map(asParameter) }, true);
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
