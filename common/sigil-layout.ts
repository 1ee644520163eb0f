/** The record members the checks look at. The order is the index into {@link RecordLayout.start}. */
export const recordFields = [
  'id',
  'signature',
  'checksum',
  'data',
  'tenantId',
  'symbol',
  'authHash',
  'updatedAt',
  'namespace',
] as const;

export type RecordField = (typeof recordFields)[number];

/** Index of each field in {@link recordFields}. */
export const field = {
  id: 0,
  signature: 1,
  checksum: 2,
  data: 3,
  tenantId: 4,
  symbol: 5,
  authHash: 6,
  updatedAt: 7,
  namespace: 8,
} as const satisfies Record<RecordField, number>;

/** Of how many members at the top level it is remembered which field they were. */
const rememberedMembers = 32;

/** Nesting beyond this is left to the parser: a recursive walk must not be at the mercy of its input. */
const maxDepth = 64;

/** Longer numbers exist only to annoy; they go to the parser. */
const maxNumberChars = 64;

/** A decimal of so many digits comes back from a double as it was. */
const exactDigits = 15;
/** Number::toString of ECMAScript writes an exponent for what begins behind this place. */
const plainDecimals = 6;

const space = 0x20;
const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const comma = 0x2c;
const colon = 0x3a;
const zero = 0x30;
const nine = 0x39;
const minus = 0x2d;
const point = 0x2e;
const lowerU = 0x75;

/** `"\/bfnrtu`: what RFC 8259 allows after a backslash. */
const escapes = new Set(Buffer.from('"\\/bfnrtu'));
/** Of those, the ones that need a second look, since `JSON.stringify` writes them rarely or never. */
const oddEscapes = new Set(Buffer.from('/u'));
const whiteSpace = new Set(Buffer.from(' \n\r\t'));
const fourHex = /^[0-9a-fA-F]{4}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids exactly these inside strings
const control = /[\u0000-\u001f]/;
const numberText = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const literals = ['true', 'false', 'null'];

/**
 * Finds where the members of one JSON object stand in its bytes, without building the object (RFC 8259 grammar).
 * One instance is reused for many records: `scan` replaces what the last one found.
 *
 * `canonical` says that the bytes are what `JSON.stringify` would write for the value they mean, so hashing them as
 * they stand equals parsing and stringifying them. Escapes written as `\u` and member names that start with a digit
 * (which JavaScript reorders) count as not canonical, which only costs the caller the slow way. A name repeated inside
 * a nested object is not noticed here; `members` counts every member so that a parser's result can be compared.
 */
export class RecordLayout {
  canonical = false;
  /** A field of {@link recordFields} occurs more than once at the top level. */
  repeated = false;
  /** Members of all objects together. */
  members = 0;
  private readonly starts = new Int32Array(recordFields.length);
  private readonly ends = new Int32Array(recordFields.length);
  /** The field that each member at the top level was in the record before; -1 for another member. */
  private readonly likely = new Int8Array(rememberedMembers).fill(-1);
  /** How many members at the top level have been seen. */
  private place = 0;
  /** One character per byte, since string search is several times faster than a loop over bytes. */
  private text = '';
  private at = 0;
  private escaped = false;

  /**
   * True when `bytes` are laid out as one JSON object of at most {@link maxDepth} levels. Together with `canonical` that
   * means well-formed; without it only a parser can tell, since control characters are legal between tokens alone.
   */
  scan(bytes: Buffer): boolean {
    this.text = bytes.toString('latin1');
    this.escaped = this.text.includes('\\');
    this.at = 0;
    this.members = 0;
    this.place = 0;
    this.canonical = !control.test(this.text);
    this.repeated = false;
    this.starts.fill(-1);
    return this.peek() === openBrace && this.object(1) && this.peek() === -1;
  }

  /** First byte of the field's value (the quote of a string), or -1 when the record has no such member. */
  start(index: number): number {
    return this.starts[index] ?? -1;
  }

  /** The byte after the field's value. */
  end(index: number): number {
    return this.ends[index] ?? -1;
  }

  /** Whether the field is the string `text`, which must be one that JSON writes as it stands. */
  says(index: number, text: string): boolean {
    const start = this.start(index);
    return (
      start >= 0 &&
      this.end(index) - start === text.length + 2 &&
      this.text.charCodeAt(start) === quote &&
      this.text.startsWith(text, start + 1)
    );
  }

  /** The next byte that is not white space, or -1 at the end. White space is legal but not canonical. */
  private peek(): number {
    while (this.at < this.text.length) {
      const byte = this.text.charCodeAt(this.at);
      if (byte > space || !whiteSpace.has(byte)) return byte;
      this.canonical = false;
      this.at++;
    }
    return -1;
  }

  private value(depth: number): boolean {
    const byte = this.peek();
    if (byte === quote) return this.string();
    if (byte === openBrace) return depth < maxDepth && this.object(depth + 1);
    if (byte === openBracket) return depth < maxDepth && this.array(depth + 1);
    if (byte === minus || isDigit(byte)) return this.number();
    return this.literal();
  }

  private object(depth: number): boolean {
    this.at++;
    if (this.peek() === closeBrace) {
      this.at++;
      return true;
    }
    for (;;) {
      if (!this.member(depth)) return false;
      const byte = this.peek();
      this.at++;
      if (byte === closeBrace) return true;
      if (byte !== comma) return false;
    }
  }

  private member(depth: number): boolean {
    if (this.peek() !== quote) return false;
    const nameStart = this.at + 1;
    if (!this.string()) return false;
    const nameEnd = this.at - 1;
    const first = this.text.charCodeAt(nameStart);
    if (isDigit(first)) this.canonical = false;
    if (this.peek() !== colon) return false;
    this.at++;
    this.peek();
    const valueStart = this.at;
    if (!this.value(depth)) return false;
    this.members++;
    if (depth === 1) this.remember(nameStart, nameEnd, valueStart);
    return true;
  }

  private remember(nameStart: number, nameEnd: number, valueStart: number): void {
    const index = this.fieldNamed(nameStart, nameEnd);
    if (index < 0) return;
    if (this.start(index) >= 0) this.repeated = true;
    this.starts[index] = valueStart;
    this.ends[index] = this.at;
  }

  /** Records of a store are written by one program, so most have their members in the order of the record before. */
  private fieldNamed(nameStart: number, nameEnd: number): number {
    const place = this.place++;
    const likely = this.likely[place] ?? -1;
    if (likely >= 0 && this.isNamed(likely, nameStart, nameEnd)) return likely;
    const index = recordFields.findIndex((_, candidate) => this.isNamed(candidate, nameStart, nameEnd));
    if (place < this.likely.length) this.likely[place] = index;
    return index;
  }

  private isNamed(index: number, nameStart: number, nameEnd: number): boolean {
    const name = recordFields[index];
    return name !== undefined && name.length === nameEnd - nameStart && this.text.startsWith(name, nameStart);
  }

  private array(depth: number): boolean {
    this.at++;
    if (this.peek() === closeBracket) {
      this.at++;
      return true;
    }
    for (;;) {
      if (!this.value(depth)) return false;
      const byte = this.peek();
      this.at++;
      if (byte === closeBracket) return true;
      if (byte !== comma) return false;
    }
  }

  private string(): boolean {
    if (this.escaped) return this.escapedString();
    const end = this.text.indexOf('"', this.at + 1);
    this.at = end + 1;
    return end >= 0;
  }

  private escapedString(): boolean {
    const { text } = this;
    for (let at = this.at + 1; at < text.length; at++) {
      const byte = text.charCodeAt(at);
      if (byte === quote) {
        this.at = at + 1;
        return true;
      }
      if (byte === backslash && !this.escape(++at)) return false;
    }
    return false;
  }

  private escape(at: number): boolean {
    const byte = this.text.charCodeAt(at);
    if (!escapes.has(byte)) return false;
    if (oddEscapes.has(byte)) this.canonical = false;
    return byte !== lowerU || fourHex.test(this.text.slice(at + 1, at + 5));
  }

  /** Numbers of up to 15 digits are exact; for the rest the number itself says how JavaScript would write it. */
  private number(): boolean {
    const { text } = this;
    const from = this.at;
    const digits = text.charCodeAt(from) === minus ? from + 1 : from;
    let at = digits;
    while (isDigit(text.charCodeAt(at))) at++;
    const first = text.charCodeAt(digits);
    const exact =
      at > digits && at - digits <= exactDigits && (first !== zero || (at === 1 + digits && digits === from));
    if (exact && text.charCodeAt(at) === point) at = this.fraction(digits, at);
    if (exact && !isNumberByte(text.charCodeAt(at))) {
      this.at = at;
      return true;
    }
    while (isNumberByte(text.charCodeAt(at))) at++;
    this.at = at;
    return at - from <= maxNumberChars && this.oddNumber(text.slice(from, at));
  }

  /**
   * The end of a fraction that JavaScript writes as it stands: not below 1e-6, from where it writes an exponent, and without a zero
   * at the end; otherwise where it began.
   */
  private fraction(digits: number, from: number): number {
    const { text } = this;
    let at = from + 1;
    let isZero = from - digits === 1 && text.charCodeAt(digits) === zero;
    for (; isDigit(text.charCodeAt(at)); at++) {
      if (at - from <= plainDecimals && text.charCodeAt(at) !== zero) isZero = false;
    }
    const isPlain = at - from > 1 && text.charCodeAt(at - 1) !== zero && at - 1 - digits <= exactDigits;
    return isPlain && !isZero ? at : from;
  }

  private oddNumber(text: string): boolean {
    if (!numberText.test(text)) return false;
    if (JSON.stringify(Number(text)) !== text) this.canonical = false;
    return true;
  }

  private literal(): boolean {
    const found = literals.find((literal) => this.text.startsWith(literal, this.at));
    if (found === undefined) return false;
    this.at += found.length;
    return true;
  }
}

/** Whether `bytes[from, to)` are exactly `wanted`. */
export function equalBytes(wanted: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from !== wanted.length) return false;
  for (let index = 0; index < wanted.length; index++) {
    if (bytes[from + index] !== wanted[index]) return false;
  }
  return true;
}

/** `0-9 + - . e E`: anything a JSON number can hold. */
function isNumberByte(byte: number): boolean {
  return isDigit(byte) || byte === 0x2b || byte === 0x2d || byte === 0x2e || (byte | 0x20) === 0x65;
}

function isDigit(byte: number): boolean {
  return byte >= zero && byte <= nine;
}
