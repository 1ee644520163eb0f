import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { AppError } from '../../../common/errors.ts';
import { compileDesired, desiredDigest } from '../../../common/manifest/compile.ts';
import { parseManifestFiles } from '../../../common/manifest/files.ts';
import { parseManifest } from '../../../common/manifest/manifest.ts';
import { formatWarning } from '../../../common/manifest/warnings.ts';
import type { ObservedContainer } from '../../../common/observed.ts';

/** `line:column reason` of the refusal. */
function refusal(text: string): string {
  let refused: unknown;
  try {
    parseManifest(text, 'm.yaml');
  } catch (thrown) {
    refused = thrown;
  }
  assert.ok(refused instanceof AppError, 'it was accepted, or failed otherwise');
  assert.equal(refused.code, 'validation.manifest');
  const { file, line, column, reason } = refused.details;
  assert.equal(refused.message, `${file}:${line}:${column}: ${reason}`);
  return `${line}:${column} ${reason}`;
}

function accepted(text: string): boolean {
  try {
    parseManifest(text);
    return true;
  } catch (thrown) {
    assert.ok(thrown instanceof AppError && thrown.code === 'validation.manifest');
    return false;
  }
}

const named = (name: string): ObservedContainer => ({
  id: 'a'.repeat(64),
  name,
  image: 'x',
  imageId: 'x',
  state: 'running',
  health: 'none',
  exitCode: 0,
  restartCount: 0,
  createdAt: '',
  startedAt: null,
  finishedAt: null,
});

describe('a manifest is refused with place and reason', () => {
  const cases: readonly [name: string, text: string, expected: string][] = [
    [
      'an unknown key rather than what is missing because of it',
      'containers:\n  - name: api\n    imag: x\n',
      '3:5 containers.0: unknown key "imag"; is it "image"?',
    ],
    ['an unknown key at the top', 'container: []\n', '1:1 unknown key "container"; is it "containers"?'],
    [
      'a missing key',
      'containers:\n  - name: api\n',
      '2:5 containers.0.image: Invalid input: expected string, received undefined',
    ],
    [
      'a syntax error, its place once',
      'containers: [a',
      '1:15 Flow sequence in block collection must be sufficiently indented and end with a ]',
    ],
    ['a tab', 'containers:\n\t- name: x\n', '2:1 Tabs are not allowed as indentation'],
    ['a repeated key', 'containers: []\nnodes: []\ncontainers: []\n', '3:1 the key "containers" stands here twice'],
    ['two documents', 'containers: []\n---\nnodes: []\n', '2:1 more than one YAML document in the file'],
    ['an alias to nothing', 'containers: *x\n', '1:1 Unresolved alias (the anchor must be set before the alias): x'],
    ['an empty file', '', '1:1 is empty'],
    ['a file of comments', '# all gone\n', '1:1 is empty'],
    ['a list', '- a\n', '1:1 Invalid input: expected object, received array'],
    [
      'one name twice on a node',
      'containers:\n  - {name: a, image: x, node: n1}\n  - {name: a, image: y, node: n1}\n',
      '3:6 containers.1.name: "a" is wanted twice, also by containers.0',
    ],
    [
      'one name everywhere and on a node',
      'containers:\n  - {name: a, image: x}\n  - {name: a, image: y, node: n1}\n',
      '3:6 containers.1.name: "a" is wanted twice, also by containers.0',
    ],
    [
      'one name on a node and everywhere',
      'containers:\n  - {name: a, image: x, node: n1}\n  - {name: a, image: y}\n',
      '3:6 containers.1.name: "a" is wanted twice, also by containers.0',
    ],
    [
      'a node that is not in nodes',
      'nodes: [{name: n1}]\ncontainers:\n  - {name: a, image: x, node: n2}\n',
      '3:25 containers.0.node: "n2" is not in nodes',
    ],
    [
      'a name with half a character',
      'containers:\n  - {name: "\\ud800", image: x}\n',
      '2:6 containers.0.name: text without broken characters',
    ],
  ];
  for (const [name, text, expected] of cases) test(name, () => assert.equal(refusal(text), expected));

  test('an alias bomb, at once', () => {
    const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 9; i++)
      bomb.push(
        `a${i}: &a${i} [${Array(10)
          .fill(`*a${i - 1}`)
          .join(', ')}]`,
      );
    const startMs = performance.now();
    assert.match(refusal(bomb.join('\n')), /alias count/);
    assert.ok(performance.now() - startMs < 2_000);
  });

  test('brackets without end, at once', () => {
    assert.equal(accepted('['.repeat(50_000)), false);
  });

  test('as many keys as fit into a file, without the time of their square', () => {
    const text = Array.from({ length: 40_000 }, (_, i) => `k${i}: 1`).join('\n');
    const startMs = performance.now();
    assert.match(refusal(text), /^1:1 unknown key "k0"/);
    assert.ok(performance.now() - startMs < 8_000);
  });

  test('whatever the text, it is accepted or refused with a place', () => {
    const yamlish = fc.stringMatching(/^[-:{}[\]&*!|>'"%@`,# \n\tab0~<?]{0,60}$/);
    fc.assert(fc.property(fc.oneof(yamlish, fc.string({ unit: 'grapheme' })), (text) => accepted(text) !== undefined));
  });
});

describe('a manifest is accepted', () => {
  test('with a byte order mark and line ends of other systems', () => {
    const { containers } = parseManifest('\ufeffcontainers:\r\n  - name: a\r\n    image: x\r\n');
    assert.deepEqual(containers, [{ name: 'a', type: 'docker', image: 'x' }]);
  });

  test('with known keys that have no effect, each named with its line, also through aliases', () => {
    const text = 'refinery: &c {a: 1}\nmetadata: *c\ncontainers:\n  - name: a\n    image: x\n    networks: [front]\n';
    assert.deepEqual(
      parseManifest(text, 'm.yaml').warnings.map((warning) => formatWarning(warning).split(' ').slice(0, 2).join(' ')),
      ['m.yaml:1: refinery:', 'm.yaml:2: metadata:', 'm.yaml:6: containers.0.networks:'],
    );
  });

  test('with one name on two nodes, and one name twice where one is not for Docker', () => {
    const two = 'containers:\n  - {name: a, image: x, node: n1}\n  - {name: a, image: x, node: n2}\n';
    assert.equal(parseManifest(two).containers.length, 2);
    const kubernetes = 'containers:\n  - {name: a, image: x}\n  - {name: a, image: x, type: kubernetes}\n';
    assert.equal(parseManifest(kubernetes).containers.length, 2);
  });
});

describe('the desired state of a node', () => {
  test('is what is wanted there or everywhere, for Docker', () => {
    const text = `containers:
  - {name: here, image: x, node: n1}
  - {name: there, image: x, node: n2}
  - {name: both, image: x, image_sha: ${'ab'.repeat(32)}}
  - {name: pod, image: x, type: kubernetes}
`;
    assert.deepEqual(compileDesired(parseManifest(text), 'n1').containers, [
      { name: 'here', image: 'x', imageId: null, config: {}, creation: {} },
      { name: 'both', image: 'x', imageId: `sha256:${'ab'.repeat(32)}`, config: {}, creation: {} },
    ]);
  });

  test('carries what a container needs to be made, of both kinds of files', () => {
    const said = 'healthcheck: {test: [CMD, x], retries: 2}, networks: {front: {aliases: [w]}}';
    const files = new Map([
      ['bloodline_manifest.yaml', `containers: [{name: a, image: x, ${said}}]`],
      ['manifests/docker/c.yaml', `name: p\nservices: {web: {image: x, ${said}}}\nnetworks: {front: {external: true}}`],
    ]);
    const creation = (aliases: string[]) => ({
      healthcheck: { test: ['CMD', 'x'], retries: 2 },
      networks: [{ name: 'front', aliases }],
    });
    assert.deepEqual(
      compileDesired(parseManifestFiles(files), 'n1').containers.map((wanted) => wanted.creation),
      [creation(['w']), creation(['w', 'web'])],
    );
  });

  test('has the same digest in whatever order it is written', () => {
    const digest = (text: string) => desiredDigest(compileDesired(parseManifest(text), 'n1'));
    const [a, b] = ['{name: a, image: x}', '{name: b, image: y}'];
    assert.equal(digest(`containers: [${a}, ${b}]`), digest(`containers: [${b}, ${a}]`));
    assert.notEqual(digest(`containers: [${a}]`), digest(`containers: [${b}]`));
  });

  const exempt = (glob: string, name: string) => {
    const text = JSON.stringify({ drift_rules: { unauthorized_containers: { exceptions: [glob] } } });
    return compileDesired(parseManifest(text), 'n1').exempt(named(name));
  };

  test('exceptions are globs over the whole name', () => {
    const yes = [
      ['*', 'x'],
      ['a*', 'a'],
      ['a*c', 'abc'],
      ['a?c', 'abc'],
      ['*b*', 'abc'],
      ['a.c', 'a.c'],
      ['a*b*c', 'aXbYbZc'],
    ];
    const no = [
      ['a', 'ab'],
      ['a?', 'a'],
      ['a.c', 'abc'],
      ['b*', 'ab'],
      ['*b', 'abc'],
      ['a*b*c', 'acb'],
    ];
    for (const [glob = '', name = ''] of yes) assert.ok(exempt(glob, name), `${glob} fits ${name}`);
    for (const [glob = '', name = ''] of no) assert.ok(!exempt(glob, name), `${glob} does not fit ${name}`);
  });

  test('exceptions agree with the regular expression they stand for', () => {
    const letters = (unit: string[]) =>
      fc.array(fc.constantFrom(...unit), { minLength: 1, maxLength: 8 }).map((l) => l.join(''));
    fc.assert(
      fc.property(letters(['a', 'b', '*', '?']), letters(['a', 'b']), (glob, name) => {
        const pattern = new RegExp(`^${glob.replaceAll('*', '.*').replaceAll('?', '.')}$`);
        assert.equal(exempt(glob, name), pattern.test(name));
      }),
    );
  });

  test('a name chosen to be slow to compare is not', () => {
    const startMs = performance.now();
    assert.equal(exempt(`${'*a'.repeat(100)}b`, 'a'.repeat(500)), false);
    assert.ok(performance.now() - startMs < 500);
  });
});
