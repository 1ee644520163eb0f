import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';

export interface OddServer {
  readonly url: string;
  /** `METHOD path?query` of every request so far. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

/** An HTTP server that answers commands in whatever way it is told to. */
export async function startOddServer(answer: http.RequestListener): Promise<OddServer> {
  const asked: string[] = [];
  const server = http.createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    request.resume().on('end', () => answer(request, response));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('it listens on no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    asked,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Answers as a collector fails. */
export function failing(status: number, errorCode: string): http.RequestListener {
  const body = { error_code: errorCode, message: `it is ${errorCode}`, details: {}, request_id: 'test' };
  return answering(status, JSON.stringify(body));
}

export function answering(status: number, text: string, headers: http.OutgoingHttpHeaders = {}): http.RequestListener {
  return (_, response) => {
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(text);
  };
}
