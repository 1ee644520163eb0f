import http from 'node:http';
import type { TestCollector } from './collectors.ts';

/** An answer as it came over the wire, without what a well-behaved client would make of it. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

export interface RawAsk {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string | undefined;
}

/** Sends a target as it stands: `fetch` would tidy it up first. */
export function askRaw(
  url: string,
  target: string,
  { method = 'GET', headers, body }: RawAsk = {},
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const asked = http.request(url, { method, path: target, headers, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk) => {
        text += chunk;
      });
      answer.once('error', reject);
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: text }));
    });
    asked.once('error', reject);
    asked.end(body);
  });
}

/** The same with a token that may do everything. */
export function askAsOperator(
  { collector, token }: TestCollector,
  target: string,
  asked: RawAsk = {},
): Promise<RawAnswer> {
  return askRaw(collector.url, target, { ...asked, headers: { Authorization: `Bearer ${token}`, ...asked.headers } });
}

/** Texts that would mean something to a database, were they not compared as they are. */
export const injections: readonly string[] = [
  "'",
  "' or '1'='1",
  "web' or 1=1 --",
  "'; drop table drifts; --",
  "' union select token_hash::text from api_tokens --",
  '%',
  '_eb',
  'w%',
  '\\',
  "\\' or 1=1 --",
  '$1',
  '$\u007b1}',
  '$$; select pg_sleep(10); $$',
  "web'||''",
  'web--',
  'web/**/',
  '*',
  'web ',
  'WEB',
];
