// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the variables are compose's
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { AppError } from '../../../common/errors.ts';
import { type ComposeFile, maxComposeChars, parseCompose } from '../../../common/manifest/compose.ts';
import { serviceKeysWithoutEffect } from '../../../common/manifest/compose-keys.ts';
import { formatWarning } from '../../../common/manifest/warnings.ts';

const vectors = new URL('../../vectors/compose/', import.meta.url);

/** The other files of the repository, by path. */
type Files = Readonly<Record<string, string>>;

/** With warnings as an operator reads them. */
function told({ warnings, ...found }: ComposeFile) {
  return { ...found, warnings: warnings.map(formatWarning) };
}

function parse(text: string, files: Files = {}, path = 'manifests/docker/c.yaml') {
  return told(parseCompose({ path, text }, (other) => files[other]));
}

/** The one service of a file that has only this. */
function parseService(lines: string, files: Files = {}) {
  const [container] = parse(`services:\n  web:\n    image: x\n${lines}`, files).containers;
  assert.ok(container);
  return container;
}

/** `line:column reason` of the refusal; with the file in front when it is another one. */
function refusal(text: string, files: Files = {}, path = 'manifests/docker/c.yaml'): string {
  let refused: unknown;
  try {
    parse(text, files, path);
  } catch (thrown) {
    refused = thrown;
  }
  assert.ok(refused instanceof AppError, `it was accepted, or failed otherwise: ${refused}`);
  assert.equal(refused.code, 'validation.manifest');
  const { file, line, column, reason } = refused.details;
  assert.equal(refused.message, `${file}:${line}:${column}: ${reason}`);
  return `${file === path ? '' : `${file}:`}${line}:${column} ${reason}`;
}

describe('a compose file becomes what it says should run, and names what has no effect', () => {
  for (const file of readdirSync(vectors).filter((name) => name.endsWith('.yaml'))) {
    test(file, () => {
      const read = (name: string) => readFileSync(new URL(name, vectors), 'utf8');
      const envFile = (path: string) => {
        const name = path.replace('manifests/docker/', '');
        return existsSync(new URL(name, vectors)) ? read(name) : undefined;
      };
      const found = told(parseCompose({ path: `manifests/docker/${file}`, text: read(file) }, envFile));
      assert.deepEqual(JSON.parse(JSON.stringify(found)), JSON.parse(read(file.replace('.yaml', '.json'))));
    });
  }

  test('every key that compose knows and we do not compare, with its line and why', () => {
    const keys = [...serviceKeysWithoutEffect.keys()];
    const text = `services:\n  web:\n    image: x\n${keys.map((key) => `    ${key}: {a: $UNSET}\n`).join('')}`;
    assert.deepEqual(
      parse(text).warnings,
      keys.map(
        (key, i) => `manifests/docker/c.yaml:${i + 4}: services.web.${key}: ${serviceKeysWithoutEffect.get(key)}`,
      ),
    );
    assert.ok(keys.length > 70);
  });

  test('what is at the top and not compared', () => {
    const text =
      'version: "3"\nx-any: [$UNSET]\nsecrets: {a: {}}\nconfigs: {}\ninclude: [b.yaml]\nservices: {web: {image: x, x-y: 1}}\n';
    assert.deepEqual(parse(text).warnings, [
      'manifests/docker/c.yaml:3: secrets: they are not compared',
      'manifests/docker/c.yaml:4: configs: they are not compared',
      'manifests/docker/c.yaml:5: include: the files it names are not read; put them beside this one',
    ]);
  });

  test('a build beside an image, a relative mount and a mount of memory', () => {
    const text =
      'services:\n  web:\n    image: x\n    build: .\n    volumes:\n    - ./a:/a\n    - type: tmpfs\n      target: /b\n';
    const { containers, warnings } = parse(text);
    assert.deepEqual(containers[0]?.config, { volumes: ['./a:/a:rw'] });
    assert.match(warnings[0] ?? '', /:4: services\.web\.build: what runs is compared with image/);
    assert.match(
      warnings[1] ?? '',
      /:6: services\.web\.volumes\.0: "\.\/a" depends on where compose was run: the target/,
    );
    assert.match(warnings[2] ?? '', /:7: services\.web\.volumes\.1: mounts of memory are not compared/);
  });
});

describe('a container has the name and the node that compose and the file give it', () => {
  const nameIn = (text: string, path: string, files: Files = {}) => parse(text, files, path).containers[0]?.name;
  const web = 'services: {web: {image: x}}\n';

  test('its own name', () => {
    assert.equal(nameIn('services: {web: {image: x, container_name: front}}', 'a/c.yaml'), 'front');
  });

  test('else project, service and number; the project is name, else the folder as compose spells it', () => {
    assert.equal(nameIn(`name: shop\n${web}`, 'manifests/docker/c.yaml'), 'shop-web-1');
    assert.equal(nameIn(web, 'manifests/docker/c.yaml'), 'docker-web-1');
    assert.equal(nameIn(web, 'manifests/_My.Shop 2/c.yaml'), 'myshop2-web-1');
    assert.equal(nameIn(web, 'a/c.yaml', { 'a/.env': 'COMPOSE_PROJECT_NAME=own' }), 'own-web-1');
    assert.match(refusal(web, {}, 'c.yaml'), /^1:1 "" is no name for a project: .*; set name$/);
    assert.match(refusal(web, { 'a/.env': 'COMPOSE_PROJECT_NAME=My Shop' }, 'a/c.yaml'), /^1:1 "My Shop" is no name/);
  });

  test('and says which service wants it, and where that is written', () => {
    const [container] = parse('services:\n  web: {image: x, container_name: front}\n').containers;
    assert.deepEqual([container?.service, container?.place], ['web', { line: 2, column: 3 }]);
  });

  test('the node of the service, else of the file, else every node', () => {
    const nodes = (text: string) => parse(text).containers.map(({ node }) => node);
    assert.deepEqual(nodes('x-node: n1\nservices: {a: {image: x}, b: {image: x, x-node: n2}}'), ['n1', 'n2']);
    assert.deepEqual(nodes('services: {a: {image: x}}'), [undefined]);
  });

  test('one name on two nodes is two containers', () => {
    const on = (a: string, b: string) =>
      `services:\n  a: {image: x, container_name: cc${a}}\n  b: {image: x, container_name: cc${b}}\n`;
    assert.equal(parse(on(', x-node: n1', ', x-node: n2')).containers.length, 2);
    const clash = /^3:17 services\.b\.container_name: "cc" is wanted twice, also by services\.a$/;
    for (const [a = '', b = ''] of [
      ['', ''],
      [', x-node: n1', ''],
      ['', ', x-node: n1'],
      [', x-node: n1', ', x-node: n1'],
    ]) {
      assert.match(refusal(on(a, b)), clash);
    }
  });
});

describe('what a service shares is called as the engine calls it', () => {
  test('volumes and networks have the project in front, unless they have a name or are external', () => {
    const top = '{a: , b: {name: bee}, c: {external: true}, d: {external: {name: x}, name: dee}}';
    const text = `name: p
services:
  web:
    image: x
    volumes: [a:/a, b:/b, c:/c, d:/d, /e]
    networks: {a: {aliases: [z]}, b: , c: , default: }
volumes: ${top}
networks: ${top}
`;
    const [web] = parse(text).containers;
    assert.deepEqual(web?.config.volumes, [':/e:rw', 'bee:/b:rw', 'c:/c:rw', 'dee:/d:rw', 'p_a:/a:rw']);
    assert.deepEqual(
      web?.creation.networks?.map(({ name, aliases }) => [name, ...aliases]),
      [
        ['p_a', 'web', 'z'],
        ['bee', 'web'],
        ['c', 'web'],
        ['p_default', 'web'],
      ],
    );
  });

  test('services that must be there first are named by their containers', () => {
    const text = 'services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, container_name: bee}\n';
    assert.deepEqual(parse(text).containers[0]?.depends_on, [
      { name: 'bee', condition: 'service_started', required: true },
    ]);
  });

  test('a dependency that is not required may be missing', () => {
    assert.deepEqual(parseService('    depends_on: {db: {required: false}}\n').depends_on, []);
  });
});

describe('anchors and merge keys work as in compose', () => {
  test('own keys win, then the first merged map, and only the top level of a map is merged', () => {
    const text = `x-a: &a {restart: always, user: 1, environment: {A: 1}}
x-b: &b {user: 2, mem_limit: 1k}
services:
  web:
    <<: [*a, *b]
    image: x
    environment: {B: 2}
`;
    assert.deepEqual(parse(text).containers[0]?.config, {
      environment: { B: '2' },
      user: '1',
      restart_policy: 'always',
      mem_limit: 1024,
    });
  });

  test('and a mistake is shown where it is written', () => {
    const text = `x-a: &a
  restart: sometimes
x-e: &e
  A:
services:
  web:
    <<: *a
    image: x
`;
    assert.match(refusal(text), /^2:3 services\.web\.restart: no, always/);
    const through = text.replace('sometimes', 'always').replace('    image', '    environment: {<<: *e}\n    image');
    assert.match(refusal(through), /^4:3 services\.web\.environment\.A: no value/);
    const alias = text.replace('sometimes', 'always').replace('<<: *a', 'environment: *e');
    assert.match(refusal(alias), /^4:3 services\.web\.environment\.A: no value/);
  });
});

describe('variables are what git says they are', () => {
  test('a default, or the .env beside the file, is taken', () => {
    const line = '    command: ["${A:-a}", "${B-b}", "$$C", "${D}"]\n';
    assert.deepEqual(parseService(line, { 'manifests/docker/.env': 'A=\nB=\nD=d' }).config.command, [
      'a',
      '',
      '$C',
      'd',
    ]);
  });

  test('without one, the variable and its place are named', () => {
    const text = 'services:\n  web:\n    image: x\n    environment:\n      - A=1\n      - B=${SECRET}\n';
    assert.match(
      refusal(text),
      /^6:9 services\.web\.environment\.1: git does not say the value of SECRET; give it a default/,
    );
  });

  test('a name without a value has the one of the .env', () => {
    const files = { 'manifests/docker/.env': 'A=1' };
    assert.deepEqual(parseService('    environment: [A, B=2]\n', files).config.environment, { A: '1', B: '2' });
    assert.deepEqual(parseService('    environment: {A: , B: 2}\n', files).config.environment, { A: '1', B: '2' });
  });

  test('numbers and truths may come from one', () => {
    const { config } = parseService('    cpus: ${C:-0.5}\n    privileged: ${P:-true}\n    mem_limit: ${M:-1m}\n');
    assert.deepEqual(config, { cpus: 500, privileged: true, mem_limit: 1_048_576 });
  });

  test('env_file in all its forms; later files win, and environment over all', () => {
    const files = {
      'manifests/docker/a.env': 'A=1\nB=1\nC=1\n',
      'manifests/b.env': 'B=2\nC=${X}\n',
      'manifests/docker/.env': 'X=x',
    };
    const of = (written: string) =>
      parseService(`    env_file: ${written}\n    environment: {C: 3}\n`, files).config.environment;
    assert.deepEqual(of('a.env'), { A: '1', B: '1', C: '3' });
    assert.deepEqual(of('[a.env, ./../b.env]'), { A: '1', B: '2', C: '3' });
    assert.deepEqual(of('[{path: c.env, required: false}, {path: a.env}]'), { A: '1', B: '1', C: '3' });
    const { config } = parseService('    env_file: a.env\n', files);
    assert.deepEqual(config.environment, { A: '1', B: '1', C: '1' });
  });
});

describe('a compose file is refused with place and reason', () => {
  const start = 'services:\n  web:\n    image: x\n';
  const cases: readonly (readonly [name: string, text: string, expected: string, files?: Files])[] = [
    ['an unknown key', 'services:\n  web:\n    imag: x\n', '3:5 services.web: unknown key "imag"; is it "image"?'],
    ['an unknown key at the top', 'service: {}\n', '1:1 unknown key "service"; is it "services"?'],
    [
      'the key of the manifest',
      `${start}    restart_policy: always\n`,
      '4:5 services.web: unknown key "restart_policy"',
    ],
    [
      'a missing image',
      'services:\n  web: {restart: always}\n',
      '2:3 services.web.image: Invalid input: expected string, received undefined',
    ],
    [
      'a build alone',
      'services:\n  web:\n    build: .\n',
      '3:5 services.web: what runs must be an image, and build alone names none',
    ],
    ['no services', 'name: x\n', '1:1 services: a map of services'],
    ['a list of services', 'services: [web]\n', '1:1 services: a map of services'],
    ['an empty file', '', '1:1 is empty'],
    ['a tab', 'services:\n\tweb: {}\n', '2:1 Tabs are not allowed as indentation'],
    ['a repeated key', `${start}    image: y\n`, '4:5 the key "image" stands here twice'],
    ['two documents', `${start}---\n${start}`, '4:1 more than one YAML document in the file'],
    [
      'a number of older YAML',
      `${start}    user: 0755\n`,
      '4:11 this is another number in older YAML; write it in quotes',
    ],
    [
      "a service's name",
      'services: {"a b": {image: x}}',
      `1:12 services.a b: a service's name of letters, digits, ., _ and -`,
    ],
    ["a project's name", `name: My Shop\n${start}`, '1:1 name: lower-case letters, digits, - and _'],
    ["a node's name", `x-node: N 1\n${start}`, '1:1 x-node: lower-case letters, digits and hyphens'],
    [
      'a shell variable',
      `${start}    environment: [PATH]\n`,
      '4:19 services.web.environment.0: "PATH" has no value: it would come from the shell of whoever starts the container, and git does not say it',
    ],
    [
      'a lone dollar',
      `${start}    command: echo $\n`,
      '4:5 services.web.command: write "$$" for a "$" that is meant as it stands',
    ],
    [
      'an unknown volume',
      `${start}    volumes: [/a, b:/b]\n`,
      '4:19 services.web.volumes.1: "b" is not in volumes at the top of the file',
    ],
    [
      'an unknown network',
      `${start}    networks: [b]\n`,
      '4:16 services.web.networks.0: "b" is not in networks at the top of the file',
    ],
    [
      'one in a map',
      `${start}    networks: {b: }\n`,
      '4:16 services.web.networks.b: "b" is not in networks at the top of the file',
    ],
    [
      'an unknown dependency',
      `${start}    depends_on: [db]\n`,
      '4:18 services.web.depends_on.0: "db" is not a service of this file',
    ],
    [
      'a service that waits for itself',
      `${start}    depends_on: [web]\n`,
      '4:5 services.web.depends_on: it waits for services that wait for each other',
    ],
    [
      'two kinds of network',
      `${start}    network_mode: host\n    networks: [default]\n`,
      '4:5 services.web.network_mode: either network_mode or networks',
    ],
    [
      'an env file that is not there',
      `${start}    env_file: [a.env]\n`,
      '4:16 services.web.env_file.0: "manifests/docker/a.env" is not in the repository',
    ],
    [
      'one outside',
      `${start}    env_file: ../../../a.env\n`,
      '4:5 services.web.env_file: "../../../a.env" leads out of the repository',
    ],
    [
      'one from the root',
      `${start}    env_file: [{path: /etc/a.env, required: false}]\n`,
      '4:16 services.web.env_file.0: "/etc/a.env" leads out of the repository',
    ],
    [
      'a mistake in one',
      `${start}    env_file: a.env\n`,
      'manifests/docker/a.env:3:1 NAME=value',
      { 'manifests/docker/a.env': '# first\nA=1\n= 2\n' },
    ],
    ['a long file', ' '.repeat(maxComposeChars + 1), `1:1 longer than ${maxComposeChars} characters`],
  ];
  for (const [name, text, expected, files] of cases) test(name, () => assert.equal(refusal(text, files), expected));

  test('a value that stands inside itself, with its place', () => {
    const inside = 'by an alias';
    assert.equal(
      refusal('services:\n  web: {image: x, labels: &a [*a]}\n'),
      `2:31 services.web.labels.0: stands inside itself, ${inside}`,
    );
    assert.match(refusal('services: &a\n  web: *a\n'), /^2:3 services\.web: stands inside itself/);
    assert.match(refusal('x-a: &a {b: &b [{c: *a}]}\nservices: {web: {image: x}}\n'), /stands inside itself/);
  });

  test('an alias bomb and brackets without end, at once', () => {
    const startMs = performance.now();
    const bomb = Array.from(
      { length: 9 },
      (_, i) =>
        `x-${i}: &a${i} [${Array(10)
          .fill(i === 0 ? 'x' : `*a${i - 1}`)
          .join(', ')}]`,
    );
    assert.match(refusal(bomb.join('\n')), /alias count/);
    refusal('['.repeat(50_000));
    refusal(`services: ${'{a: '.repeat(5_000)}${'}'.repeat(5_000)}`);
    assert.ok(performance.now() - startMs < 8_000);
  });

  test('whatever the text, it is accepted or refused with a place', () => {
    const lines = fc.array(
      fc.tuple(
        fc.constantFrom(
          'image',
          'command',
          'ports',
          'environment',
          'volumes',
          'networks',
          'env_file',
          'user',
          '<<',
          'build',
        ),
        fc.stringMatching(/^[-:{}[\]&*!|>'"$ ,ab0~<?./]{0,20}$/),
      ),
      { maxLength: 5 },
    );
    fc.assert(
      fc.property(lines, (pairs) => {
        const text = `services:\n  web:\n${pairs.map(([key, value]) => `    ${key}: ${value}\n`).join('')}`;
        try {
          parse(text);
        } catch (thrown) {
          assert.ok(thrown instanceof AppError && thrown.code === 'validation.manifest', String(thrown));
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
