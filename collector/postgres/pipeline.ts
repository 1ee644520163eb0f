import type pg from 'pg';
import { errnoOf } from '../../common/errors.ts';
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
        statements?.failed(error);
        reject(error);
      },
      handleReadyForQuery: () => resolve(),
    });
  });
}

/** The statements that the server knows on a connection: each is sent, parsed and planned once, not with every commit. */
class Statements {
  /** Names by text; there are as many as there are kinds of steps. */
  readonly #names = new Map<string, string>();
  readonly #parsed = new Set<string>();
  /** Sent and not answered yet, in order. */
  #sent: string[] = [];
  /** Of names: those of an earlier one are not used again. */
  #generation = 1;

  constructor(connection: pg.Connection) {
    connection.on('parseComplete', () => {
      const name = this.#sent.shift();
      if (name !== undefined) this.#parsed.add(name);
    });
  }

  /** Sends the text of a statement unless the server knows it. @returns its name. */
  prepare(connection: pg.Connection, text: string): string {
    const name = this.#names.get(text) ?? `step_${this.#generation}_${this.#names.size + 1}`;
    this.#names.set(text, name);
    if (this.#parsed.has(name) || this.#sent.includes(name)) return name;
    this.#sent.push(name);
    connection.parse({ name, text, types: [] }, true);
    return name;
  }

  /** After an error the server looks at nothing more of what was sent; what it had parsed by then it keeps. */
  failed(error: unknown): void {
    this.#sent = [];
    if (!namesLost.has(errnoOf(error) ?? '')) return;
    this.#generation += 1;
    this.#names.clear();
    this.#parsed.clear();
  }
}

/** `invalid_sql_statement_name`, `duplicate_prepared_statement`: the server knows others than we think, by a DISCARD or a pooler between us. */
const namesLost = new Set(['26000', '42P05']);

const statementsByConnection = new WeakMap<pg.Connection, Statements>();

function statementsOf(connection: pg.Connection): Statements {
  const statements = statementsByConnection.get(connection) ?? new Statements(connection);
  statementsByConnection.set(connection, statements);
  return statements;
}

function send(connection: pg.Connection, steps: readonly Step[], statements: Statements): void {
  const { stream } = connection;
  stream.cork();
  for (const [at, { text, values = [], copy }] of steps.entries()) {
    const statement = statements.prepare(connection, text);
    connection.bind({ statement, values: values.map(asParameter) }, true);
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
