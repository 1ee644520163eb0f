import { Socket } from 'node:net';
import pg from 'pg';

export interface AskedAfter {
  /** How long there may be no byte either way before it is asked whether the server still has this connection. */
  readonly silentMs: number;
  /** Whether it has, by way of another connection. Never rejects. */
  readonly isThere: () => Promise<boolean>;
}

/**
 * A socket for statements that may take as long as they like. Their silence says nothing; so after a while of it somebody asks, and when the
 * answer was no twice in a row, the connection is ended. What was sent into a network that drops everything TCP alone would go on sending for
 * a quarter of an hour; its own questions (keep-alive) come only where nothing waits to be sent.
 */
export function askedAfter({ silentMs, isThere }: AskedAfter): Socket {
  const socket = new Socket();
  let missed = 0;
  // How long it takes to connect is bounded otherwise.
  socket.once('connect', () => socket.setTimeout(silentMs));
  socket.on('data', () => {
    missed = 0;
  });
  socket.on('timeout', () => {
    void isThere().then((there) => {
      missed = there ? 0 : missed + 1;
      if (missed < 2) socket.setTimeout(silentMs);
      else socket.destroy(Object.assign(new Error('the database server has gone'), { code: 'ETIMEDOUT' }));
    });
  });
  return socket;
}

/** Whether a server has a session, by the number of its backend. One that answers, and refuses to say, may have it: it lacks connections, or is starting. */
export async function hasSession(probe: pg.Client, backend: number): Promise<boolean> {
  probe.on('error', () => {});
  try {
    await probe.connect();
    const { rowCount } = await probe.query('select from pg_stat_activity where pid = $1', [backend]);
    return rowCount === 1;
  } catch (thrown) {
    return thrown instanceof pg.DatabaseError;
  } finally {
    // It may wait for an answer that never comes.
    void probe.end().catch(() => {});
  }
}
