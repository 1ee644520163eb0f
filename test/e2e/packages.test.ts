import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { z } from 'zod';
import { version } from '../../common/version.ts';
import { debianArch } from '../../scripts/packaging/arch.ts';
import { ownerOfUnit } from '../../scripts/packaging/build.ts';
import { compressWith } from '../../scripts/packaging/compress.ts';
import { tarballOf } from '../../scripts/packaging/formats.ts';
import { sha256 } from '../../scripts/packaging/manifest.ts';
import { type ProgramPackage, programPackages } from '../../scripts/packaging/programs.ts';
import { runtimeVersion } from '../../scripts/packaging/runtime.ts';
import { scriptText } from '../../scripts/packaging/shell.ts';
import { signatureNamespace } from '../../scripts/packaging/sign.ts';
import { isFile } from '../../scripts/packaging/tree.ts';
import { type Machine, makeMachine, withoutMachines } from '../packages/machine.ts';
import { asksForGlibc, elfMachine, elfMachines, nativeFiles } from '../packages/native.ts';
import { openWorkshop, ownArch, packagedSeconds, unpack, type Workshop } from '../packages/packaged.ts';
import { enrolAndReport, withCollector, wrongIn } from '../packages/scripts.ts';
import { sshSigners, withoutSshKeygen } from '../ssh-keys.ts';
import { makeTemporaryFolder } from '../system/leftovers.ts';
import { projectRoot } from '../system/program.ts';

const run = promisify(execFile);
const newer = '0.99.0';
const long = process.env.SIGILWATCH_TEST_LONG === '1';
const folder = makeTemporaryFolder('sigilwatch-packages-');
const out = join(folder.path, 'out');
const later = join(folder.path, 'later');
let workshop: Workshop;
let told = '';

before(async () => {
  const signers = await sshSigners({ releases: 'releases@example.org' });
  const { stderr } = await pack(projectRoot, ['--arch', ownArch, '--out', out, '--key', signers.keyFile('releases')]);
  told = stderr;
  cpSync(signers.allowedSigners, join(folder.path, 'allowed_signers'));
  await signers.remove();
  workshop = await openWorkshop(join(folder.path, 'archives'));
});
after(() => folder.remove());

function pack(root: string, args: readonly string[]) {
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(packagedSeconds) };
  return run(join(root, 'scripts/package'), args, { cwd: root, env });
}

function sumsIn(path: string): Map<string, string> {
  const lines = readFileSync(join(path, 'SHA256SUMS'), 'utf8').trim().split('\n');
  return new Map(lines.map((line) => [line.slice(66), line.slice(0, 64)]));
}

function onlyProgram(name: ProgramPackage['name']): ProgramPackage {
  const found = programPackages.find((one) => one.name === name);
  assert.ok(found !== undefined);
  return found;
}
const agent = onlyProgram('sigilwatch-agent');
const collector = onlyProgram('sigilwatch-collector');

describe('what is handed out', () => {
  test('is a tarball, a .deb and a bill of materials for each program, each with its sum', () => {
    const names = programPackages.flatMap(({ name }) => [
      `${name}-${version}-linux-${ownArch}.tar.gz`,
      `${name}_${version}_${debianArch[ownArch]}.deb`,
      `${name}-${version}-linux-${ownArch}.cdx.json`,
    ]);
    const sums = sumsIn(out);
    assert.deepEqual([...sums.keys()].sort(), names.toSorted());
    for (const [name, sum] of sums) assert.equal(sha256(readFileSync(join(out, name))), sum, name);
    for (const name of names) assert.ok(told.includes(name), told);
  });

  test('is signed for releases, and for nothing else', { skip: withoutSshKeygen() }, async () => {
    const verify = (namespace: string, sums: string) =>
      run('sh', [
        '-c',
        `ssh-keygen -Y verify -f "$1" -I releases@example.org -n "$2" -s "$3.sig" < "$4"`,
        ...['sh', join(folder.path, 'allowed_signers'), namespace, join(out, 'SHA256SUMS'), sums],
      ]);
    await verify(signatureNamespace, join(out, 'SHA256SUMS'));
    await assert.rejects(verify('git', join(out, 'SHA256SUMS')));
    const altered = join(folder.path, 'altered');
    writeFileSync(
      altered,
      readFileSync(join(out, 'SHA256SUMS'), 'utf8').replace(/^./, (one) => (one === '0' ? '1' : '0')),
    );
    await assert.rejects(verify(signatureNamespace, altered));
  });

  test('is the same, byte for byte, when it is made again from another folder under another user mask', async () => {
    const elsewhere = join(folder.path, 'elsewhere');
    const mask = process.umask(0o077);
    try {
      for (const name of ['dist', 'docs', 'systemd', 'LICENSE', 'README.md']) {
        cpSync(join(projectRoot, name), join(elsewhere, name), { recursive: true });
      }
      const built = await workshop.build(agent, { root: elsewhere });
      const node = join(unpack(out, agent.name, version), 'usr/lib', agent.name, 'bin/node');
      const { name, bytes } = await tarballOf(built, packagedSeconds, compressWith(node, folder.path));
      assert.equal(sha256(bytes), sumsIn(out).get(name));
    } finally {
      process.umask(mask);
    }
  });

  const allOfIt = async () => {
    const elsewhere = join(folder.path, 'checkout');
    const { stdout } = await run('git', ['-C', projectRoot, 'ls-files']);
    for (const name of stdout.trim().split('\n')) cpSync(join(projectRoot, name), join(elsewhere, name));
    symlinkSync(join(projectRoot, 'node_modules'), join(elsewhere, 'node_modules'));
    const results = [join(folder.path, 'one'), join(folder.path, 'two')] as const;
    await pack(projectRoot, ['--out', results[0]]);
    await pack(elsewhere, ['--out', results[1]]);
    assert.equal(sumsIn(results[0]).size, 12);
    assert.deepEqual(sumsIn(results[1]), sumsIn(results[0]));
  };
  // Each test run makes one package twice, above; all of them take minutes.
  if (long) test('all of it, for every machine, is the same from another checkout', allOfIt);
});

describe('what is in a package', () => {
  const bill = z.object({
    bomFormat: z.literal('CycloneDX'),
    specVersion: z.literal('1.6'),
    serialNumber: z.string().regex(/^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
    version: z.literal(1),
    metadata: z.object({ timestamp: z.iso.datetime(), component: z.object({ name: z.string(), version: z.string() }) }),
    components: z.array(
      z.object({
        'bom-ref': z.string(),
        type: z.enum(['library', 'platform']),
        group: z.string().optional(),
        name: z.string(),
        version: z.string(),
        hashes: z.tuple([z.object({ alg: z.literal('SHA-512'), content: z.string().regex(/^[0-9a-f]{128}$/) })]),
        licenses: z.array(
          z.union([z.object({ license: z.object({ id: z.string() }) }), z.object({ expression: z.string() })]),
        ),
        purl: z.string().startsWith('pkg:npm/'),
      }),
    ),
    dependencies: z.array(z.object({ ref: z.string(), dependsOn: z.array(z.string()).optional() })),
  });
  const manifestOf = z.object({ name: z.string(), version: z.string() });

  for (const program of programPackages) {
    test(`${program.name}: its bill names every package that lies in it or was built in, at its version, and no other`, async () => {
      const built = await workshop.build(program);
      const { components, dependencies } = bill.parse(JSON.parse(built.bill));
      const listed = components.map(({ group, name, version: numbered }) => {
        return `${group === undefined ? name : `${group}/${name}`}@${numbered}`;
      });
      const manifests = built.entries.filter(isFile).filter(({ path }) => {
        return /\/node_modules\/(?:@[^/]+\/)?[^/]+\/package\.json$/.test(path);
      });
      const lying = manifests.map(({ bytes }) => manifestOf.parse(JSON.parse(bytes.toString())));
      const { bundled, runtime } = workshop.partsOf(program);
      const expected = [...lying, ...bundled, runtime].map((one) => `${one.name}@${one.version}`);
      assert.deepEqual(listed.toSorted(), [...new Set(expected)].sort());
      const refs = new Set(dependencies.map(({ ref }) => ref));
      for (const component of components) assert.ok(refs.has(component['bom-ref']), component.name);
      assert.ok(listed.includes(`node-linux-${ownArch}@${runtimeVersion}`));
    });

    test(`${program.name}: every native file is for this machine, and nothing is there that only makers need`, async () => {
      const { entries } = await workshop.build(program);
      const native = nativeFiles(entries);
      assert.ok(native.length >= 3);
      for (const { path, bytes } of native) {
        assert.equal(elfMachine(bytes), elfMachines[ownArch], path);
        // What docs/packages.md and the .deb say. libsodium asks for more, and the collector does without where it is not there.
        if (!path.endsWith('/sodium-native.node')) assert.ok(asksForGlibc(bytes) <= 28, path);
      }
      const odd = entries.filter(({ path }) =>
        /musl|\.(?:map|d\.ts|cc|a|bare|packages\.json)$|\btest\.[cm]?js$/.test(path),
      );
      assert.deepEqual(odd, []);
    });
  }

  test('every file that was built, and every unit, is in exactly one package', () => {
    const built = readdirSync(join(projectRoot, 'dist')).filter(
      (name) => !/^\.|\.packages\.json$|^packages$/.test(name),
    );
    assert.deepEqual(programPackages.flatMap((one) => one.built).sort(), built.sort());
    const units = readdirSync(join(projectRoot, 'systemd'));
    assert.deepEqual(
      units.filter((name) => ownerOfUnit(name, programPackages) === undefined),
      [],
    );
    for (const program of programPackages) assert.ok(units.includes(`${program.user}.sysusers.conf`));
  });
});

const skip = withoutMachines();

function furnished(): Machine {
  const machine = makeMachine();
  mkdirSync(join(machine.root, 'root/old'));
  mkdirSync(join(machine.root, 'root/new'));
  return machine;
}

async function makeNewer(): Promise<void> {
  if (readdirSync(folder.path).includes('later')) return;
  for (const program of programPackages) await workshop.make(program, { version: newer }, later);
}

describe('a tarball on a machine without network, systemd and Node.js', { skip }, () => {
  let machine: Machine;
  before(async () => {
    await makeNewer();
    machine = furnished();
    for (const { name } of programPackages) {
      machine.bring(unpack(out, name, version), `root/old/${name}`);
      machine.bring(unpack(later, name, newer), `root/new/${name}`);
    }
  });
  after(() => machine.remove());

  const install = (which: 'old' | 'new', name: string) => machine.run(`/root/${which}/${name}/install`);

  test('is refused when a file in it was changed, naming that, and when it is for another machine', async () => {
    const path = join(machine.root, 'root/old', agent.name, 'usr/lib', agent.name, 'dist/sigil-thread.js');
    const whole = readFileSync(path);
    appendFileSync(path, ' ');
    const changed = install('old', agent.name);
    assert.deepEqual([changed.code, /dist\/sigil-thread\.js: FAILED/.test(changed.stderr)], [4, true], changed.stderr);
    writeFileSync(path, whole);
    const facts = { program: agent, version, arch: ownArch === 'x64' ? 'arm64' : 'x64', units: [], users: [] } as const;
    const script = join(machine.root, 'root/old', agent.name, 'install-elsewhere');
    writeFileSync(script, await scriptText('install', facts), { mode: 0o755 });
    const foreign = machine.run(`/root/old/${agent.name}/install-elsewhere`);
    assert.deepEqual([foreign.code, /this package is for Linux on/.test(foreign.stderr)], [4, true], foreign.stderr);
    assert.equal(machine.has('usr/bin/sigilwatch-agent'), false);
  });

  test('installs programs, units, users and settings, and says how to go on', () => {
    for (const { name } of programPackages) {
      const { code, stdout, stderr } = install('old', name);
      assert.deepEqual([code, stderr], [0, '']);
      assert.match(
        stdout,
        new RegExp(`${name} ${version} is installed\\.\nsystemd does not run here.*\n  ${name} run --config`),
      );
    }
    const { stdout } = machine.run(`
      command -v node || echo no node
      for name in agent executor collector; do sigilwatch-$name --version; done
      stat -c '%U %a' /var/lib/sigilwatch-agent /var/lib/sigilwatch-collector
      stat -c '%G %a' /etc/sigilwatch/agent.yaml /etc/sigilwatch/collector.yaml`);
    const wanted = ['no node', version, version, version, 'sigilwatch-agent 700', 'sigilwatch-collector 700'];
    assert.deepEqual(stdout.trim().split('\n'), [...wanted, 'sigilwatch-agent 640', 'sigilwatch-collector 640']);
    assert.match(
      machine.read('usr/lib/systemd/system/sigilwatch-agent.service'),
      /file:\/usr\/share\/doc\/sigilwatch-agent\/README\.md/,
    );
    assert.ok(machine.has('usr/share/doc/sigilwatch-agent/README.md'));
  });

  test('serves a collector with its own database, and a node reports to it', () => {
    const { code, stderr, stdout } = machine.run(withCollector(enrolAndReport));
    assert.equal(code, 0, stdout + stderr);
    assert.deepEqual(wrongIn(stdout), ['engine socket', 'users']);
    assert.match(stdout, /\/run\/sigilwatch-executor\/engine\.sock/);
    assert.doesNotMatch(stdout, /^\/var\/lib/m, 'root has left files there');
  });

  test('is upgraded with settings and data as they were, and goes on', () => {
    const kept = [
      'etc/sigilwatch/agent.yaml',
      'etc/sigilwatch/collector.yaml',
      'var/lib/sigilwatch-collector/collector.key',
    ];
    appendFileSync(join(machine.root, 'etc/sigilwatch/agent.yaml'), '\n# ours\n');
    writeFileSync(join(machine.root, 'usr/lib/sigilwatch-agent/left-over'), '');
    const before = [...kept, 'var/lib/sigilwatch-agent/identity.pem'].map((path) => machine.read(path));
    for (const { name } of programPackages) {
      const { code, stdout, stderr } = install('new', name);
      assert.deepEqual([code, stderr], [0, '']);
      assert.match(stdout, new RegExp(`${name} ${newer} is installed, in place of ${version}\\.`));
    }
    assert.deepEqual(
      [...kept, 'var/lib/sigilwatch-agent/identity.pem'].map((path) => machine.read(path)),
      before,
    );
    assert.equal(machine.has('usr/lib/sigilwatch-agent/left-over'), false);
    const { code, stdout, stderr } = machine.run(
      withCollector('as sigilwatch-collector sigilwatch-collector nodes list'),
    );
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^lyra\tactive/m);
  });

  test('is not downgraded: not under what is installed, nor under what has written the data', () => {
    const installed = install('old', agent.name);
    assert.equal(installed.code, 4);
    assert.match(installed.stderr, new RegExp(`refused: version ${newer} is installed, and this is ${version}`));
    const record = join(machine.root, 'var/lib/sigilwatch-collector/version');
    writeFileSync(record, '1.0.0\n');
    const written = install('new', collector.name);
    assert.equal(written.code, 4);
    assert.match(
      written.stderr,
      new RegExp(`refused: the data in .* was written by version 1\\.0\\.0, and this is ${newer}`),
    );
    const started = machine.run(`su -s /bin/sh sigilwatch-collector -c 'exec sigilwatch-collector run'`);
    assert.deepEqual([started.code, /was written by version 1\.0\.0/.test(started.stderr)], [4, true], started.stderr);
    writeFileSync(record, `${version}\n`);
  });

  test('is not removed while it runs, and its process is named', () => {
    const busy = `require('fs').writeFileSync('/tmp/began', 'x'); setInterval(() => {}, 1_000)`;
    const { code, stdout, stderr } = machine.run(`
      mkfifo /tmp/began
      /usr/lib/sigilwatch-agent/bin/node -e "${busy}" &
      cat /tmp/began >/dev/null
      echo $!
      /usr/lib/sigilwatch-agent/uninstall`);
    assert.deepEqual(
      [code, stderr],
      [4, `sigilwatch-agent: refused: it runs (process ${stdout.trim()}); stop it first\n`],
    );
    assert.ok(machine.has('usr/lib/sigilwatch-agent/bin/node'));
  });

  test('is removed with its data left, and with it when purged', () => {
    const left = machine.run(`/usr/lib/sigilwatch-agent/uninstall && /usr/lib/sigilwatch-collector/uninstall`);
    assert.deepEqual([left.code, left.stderr], [0, '']);
    const ours = () =>
      machine.run(`find / -xdev -path /root -prune -o -path /proc -prune -o -name '*sigilwatch*' -print`).stdout;
    const data = ['/etc/sigilwatch', '/var/lib/sigilwatch-agent', '/var/lib/sigilwatch-collector'];
    assert.deepEqual(ours().trim().split('\n').sort(), data);
    assert.ok(machine.has('var/lib/sigilwatch-agent/identity.pem') && machine.has('etc/sigilwatch/agent.yaml'));
    for (const { name } of programPackages) {
      const { code, stdout } = machine.run(`/root/new/${name}/uninstall --purge`);
      assert.deepEqual([code, stdout], [0, `${name} is removed, with its data and settings.\n`]);
    }
    assert.equal(ours(), '');
  });
});

describe('a .deb on such a machine', { skip }, () => {
  let machine: Machine;
  before(async () => {
    await makeNewer();
    machine = furnished();
    for (const { name } of programPackages) {
      const deb = (numbered: string) => `${name}_${numbered}_${debianArch[ownArch]}.deb`;
      machine.bring(join(out, deb(version)), `root/old/${name}.deb`);
      machine.bring(join(later, deb(newer)), `root/new/${name}.deb`);
    }
  });
  after(() => machine.remove());

  const dpkg = (args: string) => machine.run(`/usr/bin/dpkg ${args}`);

  test('installs, and its collector answers', () => {
    const { code, stderr, stdout } = dpkg(
      '--install /root/old/sigilwatch-agent.deb /root/old/sigilwatch-collector.deb',
    );
    assert.equal(code, 0, stdout + stderr);
    const ran = machine.run(`sigilwatch-agent --version; /usr/bin/dpkg --verify; ${withCollector(enrolAndReport)}`);
    assert.equal(ran.code, 0, ran.stdout + ran.stderr);
    assert.equal(ran.stdout.split('\n')[0], version);
  });

  test('is upgraded with settings and data as they were, and not downgraded', () => {
    appendFileSync(join(machine.root, 'etc/sigilwatch/agent.yaml'), '\n# ours\n');
    const identity = machine.read('var/lib/sigilwatch-agent/identity.pem');
    const upgraded = dpkg('--install /root/new/sigilwatch-agent.deb /root/new/sigilwatch-collector.deb');
    assert.equal(upgraded.code, 0, upgraded.stdout + upgraded.stderr);
    assert.match(machine.read('etc/sigilwatch/agent.yaml'), /# ours/);
    assert.equal(machine.read('var/lib/sigilwatch-agent/identity.pem'), identity);
    const downgraded = dpkg('--install /root/old/sigilwatch-agent.deb');
    assert.notEqual(downgraded.code, 0);
    assert.match(downgraded.stderr, new RegExp(`refused: version ${newer} is installed, and this is ${version}`));
    const [, status = ''] = machine.read('var/lib/dpkg/status').split('Package: sigilwatch-agent\n');
    assert.match(status, new RegExp(`^Status: install ok installed\n[^]*?\nVersion: ${newer}\n`));
  });

  test('is left to dpkg by the tarball', () => {
    machine.bring(unpack(later, agent.name, newer), 'root/new/tarball');
    const { code, stderr } = machine.run('/root/new/tarball/install');
    assert.deepEqual([code, /it is installed as a \.deb already/.test(stderr)], [4, true], stderr);
  });

  test('is removed with its data left, and with it when purged', () => {
    const removed = dpkg('--remove sigilwatch-agent sigilwatch-collector');
    assert.equal(removed.code, 0, removed.stderr);
    assert.equal(machine.has('usr/bin/sigilwatch-agent'), false);
    assert.ok(machine.has('var/lib/sigilwatch-agent/identity.pem') && machine.has('etc/sigilwatch/agent.yaml'));
    assert.equal(dpkg('--purge sigilwatch-agent sigilwatch-collector').code, 0);
    const places = [
      'etc/sigilwatch',
      'var/lib/sigilwatch-agent',
      'var/lib/sigilwatch-collector',
      'usr/lib/sigilwatch-agent',
    ];
    assert.deepEqual(
      places.filter((path) => machine.has(path)),
      [],
    );
  });
});

test('packages stay small enough to be carried about', () => {
  for (const name of sumsIn(out).keys()) assert.ok(statSync(join(out, name)).size < 80_000_000, name);
});
