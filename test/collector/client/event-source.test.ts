import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type StreamMessage, streamMessages } from '../../../collector/client/event-source.ts';
import { limits } from '../../../common/limits.ts';

async function* cut(text: string, size: number): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += size) yield text.slice(at, at + size);
}

async function read(text: string, size: number): Promise<readonly StreamMessage[]> {
  const messages: StreamMessage[] = [];
  for await (const message of streamMessages(cut(text, size))) messages.push(message);
  return messages;
}

const stream = [
  'retry: 2000\n: filtering\nid: 6\n\n',
  'id: 7\ndata: {"a":"é: b"}\n\n',
  ': heartbeat\nid: 9\n\n',
  'event: behind\r\ndata: one\r\ndata: two\r\n\r\n',
  'id: 10\ndata: cut off by the e',
].join('');

const expected: readonly StreamMessage[] = [
  { event: 'message', data: undefined, id: '6' },
  { event: 'message', data: '{"a":"é: b"}', id: '7' },
  { event: 'message', data: undefined, id: '9' },
  { event: 'behind', data: 'one\ntwo', id: undefined },
];

describe('messages of a stream', () => {
  test('are the same wherever the network cuts them, and one without its end is none', async () => {
    for (let size = 1; size <= stream.length; size++) assert.deepEqual(await read(stream, size), expected, `${size}`);
  });

  test('that never end are refused', async () => {
    const endless = `data: ${'x'.repeat(limits.maxStreamMessageChars)}`;
    await assert.rejects(read(endless, 65_536), { code: 'collector.refused' });
  });
});
