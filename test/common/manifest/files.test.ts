import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compileDesired } from '../../../common/manifest/compile.ts';
import { parseManifestFiles } from '../../../common/manifest/files.ts';
import { mistakeOf } from '../../../common/manifest/mistake.ts';
import { formatWarning } from '../../../common/manifest/warnings.ts';

const manifest = 'bloodline_manifest.yaml';
const folder = 'manifests/docker';

const parse = (files: Readonly<Record<string, string>>) => parseManifestFiles(new Map(Object.entries(files)));

function reasonOf(files: Readonly<Record<string, string>>): string {
  try {
    parse(files);
  } catch (thrown) {
    const { file, line, column, reason } = mistakeOf(thrown) ?? assert.fail(String(thrown));
    return `${file}:${line}:${column}: ${reason}`;
  }
  return 'accepted';
}

describe('compose files are equal citizens', () => {
  const files = {
    [manifest]: `containers:
  - {name: api, image: "api:1", node: lyra, ports: ["8080:80"], mem_limit: 64m}
drift_rules: {config_drift: {check_ports: true, check_env_vars: false}}
`,
    [`${folder}/web.yaml`]:
      'services:\n  web: {image: "web:2", env_file: [web.env], environment: {B: 2}, restart: always}\n',
    [`${folder}/web.env`]: 'A=1\nB=1\n',
    [`${folder}/node1/db.yml`]: 'x-node: node1\nservices:\n  db: {image: "db:3", container_name: db, build: .}\n',
    [`${folder}/notes.txt`]: ': not yaml [',
    'manifests/k8s/pod.yaml': ': not yaml [',
  };

  test('what they want is wanted beside what the manifest lists, where they say', () => {
    const wanted = (node: string) =>
      compileDesired(parse(files), node).containers.map(({ name, image, config }) => [name, image, config]);
    const web = ['docker-web-1', 'web:2', { environment: { A: '1', B: '2' }, restart_policy: 'always' }];
    assert.deepEqual(wanted('lyra'), [['api', 'api:1', { ports: ['8080->80/tcp'], mem_limit: 64 << 20 }], web]);
    assert.deepEqual(wanted('node1'), [['db', 'db:3', {}], web]);
    assert.deepEqual(wanted('node2'), [web]);
  });

  test('their warnings stand beside those of the manifest', () => {
    const [warning, ...others] = parse(files).warnings;
    assert.match(warning ? formatWarning(warning) : '', /^manifests\/docker\/node1\/db\.yml:3: services\.db\.build: /);
    assert.deepEqual(others, []);
  });

  test('and the rules are for both', () => {
    const { checks } = compileDesired(parse(files), 'lyra');
    assert.deepEqual(checks, { environment: 'never', ports: 'always', volumes: 'said' });
  });
});

describe('what each file allows and all together do not', () => {
  const service = (name: string, more = '') => `${more}services:\n  web: {image: x, container_name: ${name}}\n`;
  const cases: Record<string, [Readonly<Record<string, string>>, RegExp]> = {
    'a container that the manifest wants too': [
      { [manifest]: 'containers: [{name: web, image: y}]', [`${folder}/a.yaml`]: service('web') },
      /^manifests\/docker\/a\.yaml:2:3: services\.web: the container "web" is wanted twice, also by bloodline_manifest\.yaml/,
    ],
    'a container of two files': [
      { [manifest]: '{}', [`${folder}/a.yaml`]: service('web'), [`${folder}/b.yaml`]: service('web') },
      /^manifests\/docker\/b\.yaml:2:3: .*also by manifests\/docker\/a\.yaml/,
    ],
    'a node that the manifest does not know': [
      { [manifest]: 'nodes: [{name: lyra}]', [`${folder}/a.yaml`]: service('web', 'x-node: lira\n') },
      /^manifests\/docker\/a\.yaml:3:3: services\.web: x-node: "lira" is not in nodes/,
    ],
    'a mistake in a compose file': [
      { [manifest]: '{}', [`${folder}/a.yaml`]: 'services:\n  web: {imag: x}\n' },
      /^manifests\/docker\/a\.yaml:2:9: services\.web: unknown key "imag"; is it "image"\?/,
    ],
    'no manifest': [{ [`${folder}/a.yaml`]: service('web') }, /^bloodline_manifest\.yaml:1:1: there is no such file/],
  };
  for (const [name, [files, reason]] of Object.entries(cases)) test(name, () => assert.match(reasonOf(files), reason));

  test('one name on two nodes is two containers', () => {
    const files = {
      [manifest]: 'containers: [{name: web, image: y, node: lyra}]',
      [`${folder}/a.yaml`]: service('web', 'x-node: node1\n'),
    };
    assert.equal(reasonOf(files), 'accepted');
  });
});
