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
const authorAt = front.length + '2026-01-01T00:00:00.000Z'.length;

/**
 * Whether canonical bytes are an entry with this outline, its time in milliseconds since the Unix epoch. Compares both ends
 * with what RFC 8785 writes for it, and so parses nothing: time and author are the first members, and nothing but
 * the last ones can look like them, since within strings every quote is escaped, and behind the end of a body
 * stands another bracket. False also for what is not laid out that way, such as an entry of another version. Byte by byte,
 * because making texts of them would cost more.
 */
export function hasOutline(bytes: Buffer, said: Omit<Outline, 'at'>, atMs: number, times: TimeReader): boolean {
  let at = startOf(bytes, bytes.length, ',"v":1}');
  at = startOfNumber(bytes, at, said.seq);
  at = startOf(bytes, at, '","seq":');
  at = startOfLong(bytes, at, said.prev);
  at = startOf(bytes, at, '","prev":"');
  at = startOf(bytes, at, said.kind);
  if (startOf(bytes, at, ',"kind":"') < 0) return false;
  at = endOf(bytes, endOf(bytes, endOf(bytes, authorAt, '","author":"'), said.author), '","body":');
  return at > 0 && endOf(bytes, 0, front) > 0 && times.read(bytes, front.length) === atMs;
}

/** Where `text`, plain ASCII, stands when it ends at `end`; negative when it does not, or `end` is. */
function startOf(bytes: Buffer, end: number, text: string): number {
  const start = end - text.length;
  return start >= 0 && isAt(bytes, start, text) ? start : -1;
}

/** As {@link startOf}, for a text so long that comparing it whole is worth making one of the bytes. */
function startOfLong(bytes: Buffer, end: number, text: string): number {
  const start = end - text.length;
  return start >= 0 && bytes.toString('latin1', start, end) === text ? start : -1;
}

/** Where `text`, plain ASCII, ends when it stands at `start`; negative when it does not, or `start` is. */
function endOf(bytes: Buffer, start: number, text: string): number {
  return start >= 0 && isAt(bytes, start, text) ? start + text.length : -1;
}

function isAt(bytes: Buffer, start: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x80 || bytes[start + i] !== code) return false;
  }
  return true;
}

/** As {@link startOf}, for the decimal digits of a whole number that is not negative. */
function startOfNumber(bytes: Buffer, end: number, value: number): number {
  let [at, rest] = [end, value];
  do {
    at -= 1;
    if (at < 0 || bytes[at] !== zero + (rest % 10)) return -1;
    rest = Math.floor(rest / 10);
  } while (rest > 0);
  return at;
}

const minuteChars = '2026-01-01T00:00:'.length;
const zero = 48;
const point = 46;
const zulu = 90;

/** Reads the one time form of entries, RFC 3339 UTC with milliseconds; those of one log mostly share their minutes. */
export class TimeReader {
  #minute = '';
  #minuteMs = Number.NaN;

  /** The time that begins at `start`, in milliseconds since the Unix epoch; NaN for what is none. */
  read(bytes: Buffer, start: number): number {
    if (this.#minute === '' || !isAt(bytes, start, this.#minute)) {
      this.#minute = bytes.toString('latin1', start, start + minuteChars);
      this.#minuteMs = Date.parse(`${this.#minute}00.000Z`);
    }
    const at = start + minuteChars;
    if (bytes[at + 2] !== point || bytes[at + 6] !== zulu) return Number.NaN;
    const seconds = digitAt(bytes, at) * 10 + digitAt(bytes, at + 1);
    const ms = digitAt(bytes, at + 3) * 100 + digitAt(bytes, at + 4) * 10 + digitAt(bytes, at + 5);
    return seconds < 60 ? this.#minuteMs + seconds * 1_000 + ms : Number.NaN;
  }
}

function digitAt(bytes: Buffer, at: number): number {
  const digit = (bytes[at] ?? Number.NaN) - zero;
  return digit >= 0 && digit <= 9 ? digit : Number.NaN;
}
