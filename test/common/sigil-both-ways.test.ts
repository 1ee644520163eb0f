import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { it } from 'node:test';
import { classifyKey, SigilChecker } from '../../common/sigil.ts';
import { recordFailures } from '../../common/sigil-checks.ts';
import { EventSecret } from '../../common/sigil-hmac.ts';
import { sigilFacts } from '../../common/sigil-inventory.ts';
import type { RecordShape, Span } from '../../common/sigil-shape.ts';

/** More for a long run: SIGIL_RECORDS=1000000. */
const records = Number(process.env.SIGIL_RECORDS ?? 12_000);
const seed = Number(process.env.SIGIL_SEED ?? Date.now() % 1_000_000);
const secret = 'of the event';

/** A member and its value, as they are written; latin1, so that any byte can be. */
type Member = [name: string, text: string];

interface Written {
  key: string;
  members: Member[];
}

/** Mulberry32: enough to choose by, and the same again for a seed. */
function choices(from: number) {
  let state = from;
  const below = (bound: number): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
  const one = <T>(first: T, ...others: T[]): T => others[below(others.length + 1)] ?? first;
  return { below, one, list: <T>(most: number, make: () => T): T[] => Array.from({ length: below(most + 1) }, make) };
}

const pick = choices(seed);
const { below, one } = pick;
const utf8 = (text: string): string => Buffer.from(text).toString('latin1');

const plainTexts = ['a', 'OMEN', '~', ' ', '#', '[', ']', '}', ':', ',', '0', '{"a":1}', 'sigil:', '!', 'x'.repeat(64)];
const oddTexts = [
  '"',
  '\\',
  '\x7f',
  '\xff',
  '\xc3',
  utf8('é'),
  utf8('\ufffd'),
  '',
  '\x1f',
  '\n',
  '\\u0041',
  '\0',
  'sigil!',
  '!sigil!',
];
const oddScalars = [
  ...[
    '-0',
    '1.0',
    '1e400',
    '1e3',
    '1E5',
    '01',
    '0.1e1',
    '1.',
    '.5',
    '-',
    '+1',
    '0x1',
    '9007199254740993',
    '0.0000001',
    '123456789012345678',
  ],
  ...[
    '"\\u0041"',
    '"\\ud800"',
    '"\\/"',
    '"\\u00e9"',
    '"\\u0008"',
    '"\x7f"',
    '"\xff"',
    '"\n"',
    '"\\"',
    '"',
    "'a'",
    '""',
    '"\xef\xbf\xbd"',
  ],
  ...[
    'nul',
    'True',
    'NaN',
    'undefined',
    '',
    ' 1',
    '1 ',
    '\t1',
    '[',
    ']',
    '{',
    '}',
    ',',
    ':',
    '1,1',
    '"a":1',
    '/**/1',
    '\xef\xbb\xbf1',
  ],
  ...[
    '{"a":1,"a":1}',
    '{"a":1,}',
    '[1,]',
    '[,1]',
    '[1,,1]',
    '{"a"}',
    '{a:1}',
    '{"2":1,"1":1}',
    '{"\\u0061":1}',
    '{"__proto__":{"a":1}}',
  ],
];
const usualScalars = [
  '0',
  '7',
  '-7',
  '0.5',
  '12.25',
  '1700000000000',
  'true',
  'false',
  'null',
  '""',
  '"text"',
  '"a b"',
  '"\\n\\"\\\\"',
  `"${utf8('é')}"`,
];
const names = [
  'a',
  'b',
  'n',
  'more',
  '7',
  '1',
  '__proto__',
  'a.b',
  '(x)',
  'constructor',
  'toString',
  'a"b',
  '|',
  'data',
  'id',
  utf8('ü'),
];

function jsonText(depth: number, isOdd = false): string {
  if (isOdd && below(12) === 0) return one('', ...oddScalars);
  const kind = depth === 0 ? 0 : below(4);
  if (kind < 2) return one('1', ...usualScalars);
  const inside = pick.list(3, () => jsonText(depth - 1, isOdd));
  if (kind === 2) return `[${inside.join()}]`;
  const own = [...new Set(inside.map(() => JSON.stringify(one('a', ...names))))];
  // As JSON.stringify writes them: what looks like an index comes first.
  own.sort((left, right) => Number(/^"\d/.test(right)) - Number(/^"\d/.test(left)) || (left < right ? -1 : 1));
  return `{${own.map((name, nth) => `${name}:${inside[nth]}`).join()}}`;
}

/** Mostly one that passes all checks, its members in any order. */
function made(): Written {
  const [tenantId, symbol, authHash, id] = [
    'lyra',
    one('OMEN', 'S1', 'a b'),
    one('a1', 'f'.repeat(64)),
    one('omen-1', '7', 'a:b'),
  ];
  const time = one('"2026-01-02T03:04:05.000Z"', '1700000000000', '1.5', '"x"', '0');
  const quoted = (text: string) => `"${text}"`;
  const isTenant = below(3) > 0;
  const tenant: Member[] = [
    ['tenantId', quoted(tenantId)],
    ['symbol', quoted(symbol)],
    ['authHash', quoted(authHash)],
    ['updatedAt', time],
  ];
  const others = [...new Set(pick.list(3, () => one('more', ...names.slice(0, 13))))].filter((name) => name !== 'id');
  const members: Member[] = [
    ['id', quoted(id)],
    ...(isTenant ? tenant : []),
    ['data', jsonText(3)],
    ...(below(4) > 0 ? [['checksum', ''] satisfies Member] : []),
    ['signature', ''],
    ...others.map((name): Member => [name, jsonText(2)]),
  ];
  for (let at = members.length - 1; at > 0; at--) swap(members, at, below(at + 1));
  members.sort(([left], [right]) => Number(/^\d/.test(right)) - Number(/^\d/.test(left)) || 0);
  const key = isTenant
    ? `${tenantId}!sigil!${symbol}!${authHash}`
    : one('sigil:', 'sigil:ns:', 'sigil:', 'sigil:é:') + id;
  return { key: utf8(key), members };
}

function swap(members: Member[], left: number, right: number): void {
  const [first, second] = [members[left], members[right]];
  if (first === undefined || second === undefined) return;
  members[left] = second;
  members[right] = first;
}

/** Another one, made like it or not. */
function altered({ key, members }: Written): Written {
  const copy = members.map(([name, text]): Member => [name, text]);
  const target = copy[below(copy.length)] ?? ['', ''];
  const anyText = () => pick.list(3, () => one('a', ...plainTexts, ...(below(3) === 0 ? oddTexts : []))).join('');
  const setText = ([name]: Member, text: string): undefined => {
    const member = copy.find(([own]) => own === name);
    if (member !== undefined) member[1] = text;
  };
  const data = copy.find(([name]) => name === 'data') ?? target;
  const alterations: (() => string | undefined)[] = [
    () => setText(data, jsonText(3, true)),
    () => setText(data, withOther(data[1])),
    () => setText(target, withOther(target[1])),
    () => setText(target, one('1', ...oddScalars)),
    () => setText(target, one('1', ...usualScalars)),
    () => setText(target, `"${anyText()}"`),
    () => {
      target[0] = one('a', ...names, 'namespace', 'tenantId', 'checksum');
      return undefined;
    },
    () => void copy.push([target[0], below(2) === 0 ? target[1] : jsonText(1)]),
    () => void copy.splice(below(copy.length), 1),
    () => void swap(copy, below(copy.length), below(copy.length)),
    () => {
      const part = anyText();
      const at = below(key.length + 1);
      return key.slice(0, at) + part + key.slice(at + below(2));
    },
    () => {
      // Key and record agree on something odd.
      const [part, name] = [anyText(), one('tenantId', 'symbol', 'authHash', 'id')];
      const member = copy.find(([own]) => own === name);
      if (member === undefined) return key;
      const before = member[1].slice(1, -1);
      member[1] = `"${part}"`;
      return key.replace(before, () => part);
    },
  ];
  const changed = one(() => undefined, ...alterations)();
  return { key: changed ?? key, members: copy };
}

/** With one token of it replaced. */
function withOther(text: string): string {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[\w.+-]+|[\s\S]/g) ?? [];
  tokens[below(tokens.length)] = one('1', ...oddScalars, ...usualScalars, ',', '[1]', '{"a":1}', '[]', '[[]]', '""');
  return tokens.join('');
}

/** Digests are of what is written as data, whatever that is: none of what is wrong shows in them. */
function bytesOf({ members }: Written): Buffer {
  const data = members.find(([name]) => name === 'data')?.[1] ?? '{}';
  const bytes = Buffer.from(data, 'latin1');
  const digests: Readonly<Record<string, string>> = {
    checksum: createHash('sha256').update(bytes).digest('hex'),
    signature: createHmac('sha256', secret).update(bytes).digest('hex'),
  };
  const written = members.map(([name, text]) => {
    const digest = text === '' && Object.hasOwn(digests, name) ? `"${digests[name]}"` : text;
    return `"${name.replaceAll('"', '\\"')}":${digest}`;
  });
  return Buffer.from(`{${written.join()}}`, 'latin1');
}

/** As a disk, or a program, changes bytes: one bit, one more, one less, two the other way round. */
function damaged(value: Buffer): Buffer {
  const at = below(value.length);
  const copy = Buffer.from(value);
  switch (below(6)) {
    case 0:
      copy[at] = (copy[at] ?? 0) ^ (1 << below(8));
      return copy;
    case 1:
      return Buffer.concat([copy.subarray(0, at), Buffer.from([below(256)]), copy.subarray(at)]);
    case 2:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(at + 1)]);
    default:
      return value;
  }
}

/** By the letter. */
function isGood(key: Buffer, value: Buffer, secrets: readonly string[]): boolean {
  const rules = {
    secrets: secrets.map((text) => new EventSecret(text)),
    payloadOf: (record: Readonly<Record<string, unknown>>) => (Object.hasOwn(record, 'data') ? record.data : undefined),
    redact: (text: string) => text,
  };
  return recordFailures(key, classifyKey(key), value, rules).length === 0;
}

/** What an inventory would take from where the shape says that it stands. */
function factsAt(value: Buffer, { id, updatedAt }: RecordShape) {
  const text = (span: Span | null) => (span === null ? '' : value.toString('latin1', span.start, span.end));
  return { id: text(id).slice(1, -1), updatedAt: text(updatedAt).replace(/^"(.*)"$/, '$1') };
}

it('the fast way accepts no record that the slow way rejects, and finds the fields where they are', {
  timeout: 600_000,
}, () => {
  let [accepted, rejected] = [0, 0];
  for (let done = 0; done < records; ) {
    const secrets = one([], [secret], ['another', secret]);
    const checker = new SigilChecker({ secrets });
    const likes = [made(), made(), made()];
    for (const like of likes) checker.check(Buffer.from(like.key, 'latin1'), bytesOf(like));
    for (let nth = 0; nth < 40; nth++, done++) {
      let next = likes[below(likes.length)] ?? made();
      for (let times = below(3); times > 0; times--) next = altered(next);
      const [key, value] = [Buffer.from(next.key, 'latin1'), damaged(bytesOf(next))];
      const place = {
        key: Buffer.concat([key, Buffer.from('!:')]),
        keyLength: key.length,
        valueStart: 0,
        valueEnd: value.length,
      };
      const isSound = checker.isSound({ ...place, bytes: value, text: value.toString('latin1') });
      const why = `seed ${seed}, record ${done}: ${key.toString('latin1')} ${value.toString('latin1')}`;
      if (!isSound) {
        rejected++;
        // What it learns from is whatever comes by.
        assert.equal(
          checker.check(key, value).length === 0,
          isGood(key, value, secrets) || classifyKey(key).kind === 'other',
          why,
        );
        continue;
      }
      accepted++;
      assert.notEqual(classifyKey(key).kind, 'other', why);
      assert.ok(isGood(key, value, secrets), why);
      const shape = checker.soundShape;
      assert.deepEqual(shape && factsAt(value, shape), sigilFacts(value), why);
    }
  }
  assert.ok(accepted > records / 10 && rejected > records / 10, `seed ${seed}: ${accepted} accepted, ${rejected} not`);
});
