import assert from 'node:assert/strict';
import { test } from 'node:test';
import pino from 'pino';
import { z } from 'zod';
import { AppError } from '../../common/errors.ts';
import { type Logger, type LogLevel, loggerOver, logOptions } from '../../common/log.ts';

const line = z.record(z.string(), z.unknown());

function logInto(lines: string[], level: LogLevel = 'debug'): Logger {
  const clock = { now: () => 1_700_000_000_123, monotonicMs: () => 0 };
  return loggerOver(pino(logOptions('agent', level, clock), { write: (text: string) => lines.push(text) }));
}

function linesOf(run: (log: Logger) => void, level?: LogLevel): Record<string, unknown>[] {
  const lines: string[] = [];
  run(logInto(lines, level));
  return lines.map((text) => line.parse(JSON.parse(text)));
}

test('an event is one JSON line with level, RFC 3339 time, program, event and its fields', () => {
  const lines: string[] = [];
  logInto(lines).info('link.connected', { attempt: 2, note: 'two\nlines' });
  assert.deepEqual(lines, [
    '{"level":"info","time":"2023-11-14T22:13:20.123Z","program":"agent","attempt":2,"note":"two\\nlines","event":"link.connected"}\n',
  ]);
});

test('events below the level are not written', () => {
  const lines = linesOf((log) => {
    log.debug('a');
    log.info('b');
    log.warn('c');
    log.error('d');
  }, 'warn');
  assert.deepEqual(
    lines.map(({ level, event }) => [level, event]),
    [
      ['warn', 'c'],
      ['error', 'd'],
    ],
  );
});

test('secrets are masked by name at any depth, and in URLs, also inside error messages', () => {
  const lines: string[] = [];
  logInto(lines).error('collector.unreachable', {
    joinToken: 'S3cret',
    url: 'postgres://user:S3cret@host/db',
    request: { headers: [{ Authorization: 'Bearer S3cret' }], password: 'S3cret', privateKey: Buffer.from('S3cret') },
    error: new AppError('database.unreachable', 'no answer from postgres://u:S3cret@h'),
  });
  assert.doesNotMatch(lines.join(''), /S3cret|533363726574/);
  assert.match(lines.join(''), /postgres:\/\/\*+@host\/db/);
});

test('what is not secret stays readable', () => {
  const [fields] = linesOf((log) => log.info('x', { keyId: 'SHA256:abc', tokens: 3, seeded: true, passed: 4 }));
  assert.deepEqual([fields?.keyId, fields?.tokens, fields?.seeded, fields?.passed], ['SHA256:abc', 3, true, 4]);
});

test('errors show code, message and cause', () => {
  const cause = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
  const [fields] = linesOf((log) => log.warn('x', { error: new AppError('engine.unreachable', 'gone', { cause }) }));
  const error = line.parse(fields?.error);
  assert.deepEqual([error.code, error.message], ['engine.unreachable', 'gone']);
  assert.equal(line.parse(error.cause).code, 'ECONNREFUSED');
});

test('no value makes logging throw', () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const lines = linesOf((log) =>
    log.info('x', { circle, big: 5n, bytes: new Uint8Array([1, 255]), nothing: undefined, when: new Date(0) }),
  );
  assert.equal(lines[0]?.big, '5');
  assert.equal(lines[0]?.bytes, '01ff');
});
