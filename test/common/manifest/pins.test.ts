import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AppError } from '../../../common/errors.ts';
import { generateKeyPair } from '../../../common/keys.ts';
import { parseManifest } from '../../../common/manifest/manifest.ts';
import { formatVerifierKey } from '../../../common/note.ts';
import { nodeWitnessKey } from '../../../common/witnesses.ts';

const keys = generateKeyPair();
const vkey = (node: string, origin = 'log.example', of = generateKeyPair()) =>
  formatVerifierKey(nodeWitnessKey(origin, node, of.publicKey));
const pin = (node: string, key = vkey(node)) => `    - {name: ${node}, key: "${key}"}\n`;
const asked = 'governance:\n  witnessed_orders: true\n';
const signed = 'audit: {require_signed_commits: true}\n';
const pinned = (...nodes: readonly string[]) =>
  `${asked}${signed}witnesses:\n  nodes:\n${nodes.map((node) => pin(node)).join('')}`;

describe('a mistake in what orders are witnessed by is told with its place', () => {
  const mistakes: readonly [promise: string, text: string, at: string][] = [
    ['nobody to go by', asked, '2:3'],
    ['nobody to go by, but a quorum', `${asked}witnesses:\n  quorum: 1\n`, '2:3'],
    ['a quorum of nobody', `${asked}witnesses:\n  quorum: none\n  nodes:\n${pin('a')}`, '4:3'],
    ['a quorum of more than are pinned', `${asked}witnesses:\n  quorum: 3\n  nodes:\n${pin('a')}${pin('b')}`, '4:3'],
    ['one node twice', `witnesses:\n  nodes:\n${pin('a')}${pin('a')}`, '4:8'],
    [
      'one key twice',
      `witnesses:\n  nodes:\n${pin('a', vkey('a', 'x', keys))}${pin('b', vkey('b', 'x', keys))}`,
      '4:17',
    ],
    ['the key of another node', `witnesses:\n  nodes:\n${pin('a', vkey('b'))}`, '3:17'],
    ['the key of another log', `witnesses:\n  nodes:\n${pin('a')}${pin('b', vkey('b', 'elsewhere.example'))}`, '4:17'],
    ['a node that there is none of', `nodes: [{name: a}]\nwitnesses:\n  nodes:\n${pin('b')}`, '4:8'],
    ['no key', 'witnesses:\n  nodes:\n    - {name: a}\n', '3:7'],
    ['no boolean', 'governance:\n  witnessed_orders: often\n', '2:3'],
  ];
  for (const [promise, text, at] of mistakes) {
    test(promise, () => {
      assert.throws(
        () => parseManifest(text),
        (thrown) =>
          (thrown instanceof AppError && thrown.message.includes(`.yaml:${at}: `)) || assert.fail(String(thrown)),
      );
    });
  }

  test('a key that an outside witness has too', () => {
    const outside = `  outside: [{key: "${vkey('w', 'x', keys)}", url: "https://w.example"}]\n`;
    const text = `witnesses:\n${outside}  nodes:\n${pin('a', vkey('a', 'log.example', keys))}`;
    assert.throws(() => parseManifest(text), /witnesses\.nodes\.0\.key: the same key as witnesses\.outside\.0/);
  });
});

describe('a warning', () => {
  const warned = (text: string) => parseManifest(text).warnings.map(({ line, key }) => `${line} ${key}`);

  test('is not given of a fleet whose nodes are all pinned by a manifest that is signed', () => {
    assert.deepEqual(warned(`${pinned('a', 'b', 'c')}nodes: [{name: a}, {name: b}, {name: c}]\n`), []);
  });

  test('is given of each node that is not pinned, where it is named first', () => {
    const text = `${pinned('a', 'b', 'c')}nodes:\n  - name: a\n  - name: d\n`;
    assert.throws(() => parseManifest(text), /"b" is not in nodes/);
    const more = 'nodes:\n  - name: a\n  - name: b\n  - name: c\n  - name: d\n';
    assert.deepEqual(warned(`${pinned('a', 'b', 'c')}${more}`), ['13 nodes.3.name']);
    const containers = 'containers:\n  - {name: web, image: i, node: e}\n  - {name: api, image: i, node: e}\n';
    assert.deepEqual(warned(`${pinned('a', 'b', 'c')}${containers}`), ['10 containers.0.node']);
  });

  test('is given of pins that nobody reads, of a manifest that nobody signs, and of a quorum that is none', () => {
    assert.deepEqual(warned(`witnesses:\n  nodes:\n${pin('a')}`), ['2 witnesses.nodes']);
    const unsigned = pinned('a', 'b').replace(signed, '');
    assert.deepEqual(warned(unsigned), ['2 governance.witnessed_orders']);
    const halves = `${pinned('a', 'b', 'c', 'd')}  quorum: 2\n`;
    assert.deepEqual(warned(halves), ['2 governance.witnessed_orders']);
    assert.deepEqual(warned(pinned('a')), ['2 governance.witnessed_orders']);
  });
});
