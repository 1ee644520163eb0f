import { z } from 'zod';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { unreachable } from '../../alerts/http.ts';
import { oneLine } from '../../alerts/text.ts';

/* The HTTP API of Arweave gateways and nodes, as far as pinning takes it. */

export interface Gateway {
  /** What a new transaction has to name, base64url. */
  anchor(): Promise<string>;
  /** Of storing so many bytes, in winston. */
  price(bytes: number): Promise<string>;
  /** @param tx JSON. Posting the same one again is no error. */
  post(tx: string): Promise<void>;
  /** Blocks that hold it: 0 while it waits for the first; undefined when the gateway does not know it. */
  confirmations(txId: string): Promise<number | undefined>;
  /** As the gateway gives it out; undefined when it does not have it (yet). */
  transaction(txId: string): Promise<unknown>;
  close(): Promise<void>;
}

const statusSchema = z.object({ number_of_confirmations: z.int().nonnegative() });

/** All of its methods throw AppError `channel.unreachable` or `channel.refused`. No redirect is followed. */
export function httpGateway(
  url: string,
  signal: () => AbortSignal = () => AbortSignal.timeout(limits.gatewayTimeoutMs),
): Gateway {
  const base = url.replace(/\/+$/, '');
  const connect = async () => {
    const { Agent, request } = await import('undici');
    return { request, dispatcher: new Agent({ connect: { timeout: limits.alertConnectTimeoutMs } }) };
  };
  let connected: ReturnType<typeof connect> | undefined;

  async function ask(path: string, body?: string): Promise<{ status: number; text: string }> {
    connected ??= connect();
    const { request, dispatcher } = await connected;
    try {
      const answer = await request(`${base}/${path}`, {
        ...(body === undefined
          ? { method: 'GET' as const }
          : { method: 'POST' as const, body, headers: { 'content-type': 'application/json' } }),
        headersTimeout: limits.gatewayTimeoutMs,
        bodyTimeout: limits.gatewayTimeoutMs,
        signal: signal(),
        dispatcher,
      });
      return { status: answer.statusCode, text: await textOf(answer.body) };
    } catch (thrown) {
      throw unreachable('arweave', thrown);
    }
  }

  async function known(path: string, fits: RegExp): Promise<string> {
    const { status, text } = await ask(path);
    const value = text.trim();
    if (status === 200 && fits.test(value)) return value;
    throw refusal(path, status, value);
  }

  return {
    anchor: () => known('tx_anchor', /^[A-Za-z0-9_-]{43,64}$/),
    price: (bytes) => known(`price/${bytes}`, /^\d{1,30}$/),
    post: async (tx) => {
      const { status, text } = await ask('tx', tx);
      // 208: it has it already.
      if (status !== 200 && status !== 202 && status !== 208) throw refusal('tx', status, text);
    },
    confirmations: async (txId) => {
      const path = `tx/${txId}/status`;
      const { status, text } = await ask(path);
      if (status === 404) return undefined;
      if (status === 202) return 0;
      const parsed = statusSchema.safeParse(jsonOf(text));
      if (status === 200 && parsed.success) return parsed.data.number_of_confirmations;
      throw refusal(path, status, text);
    },
    transaction: async (txId) => {
      const { status, text } = await ask(`tx/${txId}`);
      if (status === 404 || status === 202) return undefined;
      const found = jsonOf(text);
      if (status === 200 && found !== undefined) return found;
      throw refusal(`tx/${txId}`, status, text);
    },
    close: async () => {
      await (await connected)?.dispatcher.destroy();
    },
  };
}

/** @throws AppError `channel.refused` for an answer without end. */
async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > limits.maxGatewayAnswerBytes) {
      throw new AppError('channel.refused', `the gateway answers with more than ${limits.maxGatewayAnswerBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refusal(path: string, status: number, text: string): AppError {
  const said = oneLine(text, limits.maxAlertAnswerChars);
  const message = `the Arweave gateway answered ${path} with HTTP ${status}${said === '' ? '' : `: ${said}`}`;
  const isTrouble = status === 408 || status === 425 || status === 429 || status >= 500;
  return new AppError(isTrouble ? 'channel.unreachable' : 'channel.refused', message, { details: { status } });
}
