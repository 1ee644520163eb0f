/** The parts of an entry that every version of it has; bodies of kinds that do not matter here are not looked into. */
export interface Outline {
  readonly author: string;
  readonly seq: number;
  /** Hex. */
  readonly prev: string;
  readonly at: string;
  readonly kind: string;
}

/** @returns undefined for what is no entry. */
export function readOutline(bytes: Buffer): Outline | undefined {
  try {
    const { author, seq, prev, at, kind } = JSON.parse(bytes.toString('utf8'));
    const texts = [author, prev, at, kind].every((text) => typeof text === 'string');
    return texts && Number.isSafeInteger(seq) ? { author, seq, prev, at, kind } : undefined;
  } catch {
    return undefined;
  }
}

const front = '{"at":"';
const timeEnd = front.length + '2026-01-01T00:00:00.000Z'.length;

/**
 * Whether canonical bytes are an entry with this outline, its time in milliseconds since the Unix epoch. Compares both ends
 * with what RFC 8785 writes for it, and so parses nothing: time and author are the first members, and nothing but
 * the last ones can look like them, since within strings every quote is escaped, and behind the end of a body
 * stands another bracket. False also for what is not laid out that way, such as an entry of another version.
 */
export function hasOutline(bytes: Buffer, said: Omit<Outline, 'at'>, atMs: number, times: TimeReader): boolean {
  const back = `,"kind":"${said.kind}","prev":"${said.prev}","seq":${said.seq},"v":1}`;
  if (bytes.toString('latin1', bytes.length - back.length) !== back) return false;
  const author = `","author":"${said.author}","body":`;
  const head = bytes.toString('latin1', 0, timeEnd + author.length);
  return head.startsWith(front) && head.endsWith(author) && times.read(head, front.length) === atMs;
}

const minuteChars = '2026-01-01T00:00:'.length;
const zero = 48;

/** Reads the one time form of entries, RFC 3339 UTC with milliseconds; those of one log mostly share their minutes. */
export class TimeReader {
  #minute = '';
  #minuteMs = Number.NaN;

  /** The time that begins at a place of `text`, in milliseconds since the Unix epoch; NaN for what is none. */
  read(text: string, start = 0): number {
    if (this.#minute === '' || !text.startsWith(this.#minute, start)) {
      this.#minute = text.slice(start, start + minuteChars);
      this.#minuteMs = Date.parse(`${this.#minute}00.000Z`);
    }
    const at = start + minuteChars;
    const seconds = (text.charCodeAt(at) - zero) * 10 + text.charCodeAt(at + 1) - zero;
    const ms =
      (text.charCodeAt(at + 3) - zero) * 100 + (text.charCodeAt(at + 4) - zero) * 10 + text.charCodeAt(at + 5) - zero;
    return this.#minuteMs + seconds * 1_000 + ms;
  }
}
