import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { request } from 'undici';
import { whyNoAnswer } from '../../common/no-answer.ts';

function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

test('a certificate of an unknown authority is answered with where to name one, and without advice for programs', () => {
  const cause = failure('DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed certificate; try running Node.js with --x');
  assert.equal(
    whyNoAnswer('https://hub:7600', cause, '--ca-file'),
    'self-signed certificate; name the authority that issued its certificate with --ca-file',
  );
});

test('whoever speaks plainly to a server that hangs up is told of https', async () => {
  const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const origin = `http://127.0.0.1:${address.port}`;
  const cause: unknown = await request(origin).catch((thrown: unknown) => thrown);
  server.close();
  assert.match(
    whyNoAnswer(origin, cause, '--ca-file'),
    /; where it serves by TLS, its address begins with https:\/\/$/,
  );
  assert.doesNotMatch(whyNoAnswer('https://x', cause, '--ca-file'), /https:\/\//);
});

test('what is not known better is told as it was said', () => {
  assert.equal(whyNoAnswer('http://x', failure('ECONNREFUSED', 'connect ECONNREFUSED'), 'y'), 'connect ECONNREFUSED');
});
