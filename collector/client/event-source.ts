import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

/** One message of server-sent events. */
export interface StreamMessage {
  /** `message` unless it has a name. */
  readonly event: string;
  /** Undefined where it only moves the place on. */
  readonly data: string | undefined;
  /** Of this message, if it has one of its own. */
  readonly id: string | undefined;
}

/**
 * Messages in the form of the HTML standard, 9.2.6, from texts that are cut anywhere. One that the end of the stream cuts is none.
 * @throws AppError `collector.refused` for one that does not end.
 */
export async function* streamMessages(texts: AsyncIterable<string>): AsyncGenerator<StreamMessage> {
  let rest = '';
  for await (const text of texts) {
    const blocks = `${rest}${text}`.split(/\r?\n\r?\n/);
    rest = blocks.pop() ?? '';
    for (const block of blocks) yield messageIn(block);
    if (rest.length > limits.maxStreamMessageChars) {
      throw new AppError('collector.refused', 'a message of the stream is longer than any event is');
    }
  }
}

function messageIn(block: string): StreamMessage {
  const fields = new Map<string, string>();
  for (const line of block.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    // Those that begin with a colon are comments.
    if (colon === 0 || line === '') continue;
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
    const before = fields.get(name);
    fields.set(name, name === 'data' && before !== undefined ? `${before}\n${value}` : value);
  }
  return { event: fields.get('event') ?? 'message', data: fields.get('data'), id: fields.get('id') };
}
