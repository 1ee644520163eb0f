import { posix } from 'node:path';
import { z } from 'zod';
import type { Arch } from './arch.ts';
import type { Archives, PackedFile } from './archives.ts';
import { PackagingError } from './failure.ts';
import type { LockedPackage } from './lock.ts';
import { plainMode, programMode, type TreeEntry } from './tree.ts';

/** What of a package no program ever reads: descriptions, types, maps, sources, tests, modules of another runtime. Licences stay. */
const leftOut = [
  /\.(?:md|markdown|ts|mts|cts|map|flow|cc|c|h|gyp|gypi|tsbuildinfo|bare)$/i,
  /(?:^|\/)(?:test|tests|docs|doc|types|typings|example|examples|benchmark|benchmarks|bench|coverage|\.github|deps|extensions|scripts)\//,
  /(?:^|\/)(?:CMakeLists\.txt|tsconfig[^/]*\.json|\.[^/]*)$/,
  /(?:^|[/.-])test\.[cm]?js$/,
];
const licence = /(?:^|\/)(?:licen[cs]e|notice|copying)[^/]*$/i;

/** The native modules of other machines and of other C libraries, which lie side by side in some packages. */
function isForeign(path: string, arch: Arch): boolean {
  const [, machine, file = ''] = /^prebuilds\/([^/]+)\/(.+)$/.exec(path) ?? [];
  return machine !== undefined && (machine !== `linux-${arch}` || file.includes('musl'));
}

/** A package of node_modules without what is not needed to run. @param base such as `usr/lib/sigilwatch-agent` */
export async function packageEntries(base: string, one: LockedPackage, arch: Arch, archives: Archives) {
  const files = await archives.files(one);
  const kept = files.filter(({ path }) => {
    return licence.test(path) || !(isForeign(path, arch) || leftOut.some((pattern) => pattern.test(path)));
  });
  return kept.map((file) => entryOf(`${base}/${one.place}/${file.path}`, file));
}

/** Of a runtime only the program and its licences: npm, headers and manuals are not there. */
export async function runtimeEntries(base: string, runtime: LockedPackage, archives: Archives): Promise<TreeEntry[]> {
  const files = await archives.files(runtime);
  const [node, text] = ['bin/node', 'LICENSE'].map((path) => files.find((file) => file.path === path));
  if (node === undefined || text === undefined) throw new PackagingError(`${runtime.name} has no bin/node and LICENSE`);
  return [entryOf(`${base}/bin/node`, node), entryOf(`${base}/LICENSE.node`, text)];
}

const symlinks = z.array(z.object({ source: z.string(), target: z.string() }));

/** Of the extensions of PostgreSQL these are needed: by every database, for its text search, encodings and replication. */
const modulesKept = /^(?:plpgsql|dict_snowball|libpqwalreceiver|pgoutput|euc2004_sjis2004|\w+_and_\w+)\.so$/;
const librariesLeftOut = /^lib(?:ecpg|pgtypes|pgcommon|pgfeutils|pgport|ossp-uuid|xslt)/;

function isNeededOfPostgres(path: string): boolean {
  const [, top = '', rest = ''] = /^native\/([^/]+)\/(.*)$/.exec(path) ?? [];
  if (top === 'bin') return true;
  if (top === 'share') return !rest.includes('/extension/') || rest.includes('/extension/plpgsql');
  if (top !== 'lib') return path === 'package.json' || path.startsWith('dist/') || licence.test(path);
  if (rest.startsWith('postgresql/')) return modulesKept.test(rest.slice('postgresql/'.length));
  return !rest.includes('/') && /\.so(?:\.\d+)*$/.test(rest) && !librariesLeftOut.test(rest);
}

/**
 * The server's programs with the libraries that they bring along. Links between those are not in npm's archive but in a list there;
 * what only linkers ask for (`libpq.so`) is left out.
 */
export async function postgresEntries(base: string, one: LockedPackage, archives: Archives): Promise<TreeEntry[]> {
  const files = await archives.files(one);
  const below = `${base}/${one.place}`;
  const kept = files.filter(({ path }) => isNeededOfPostgres(path) && !/\.d\.ts$/.test(path));
  const list = files.find(({ path }) => path === 'native/pg-symlinks.json');
  const links = symlinks.parse(JSON.parse(list?.bytes.toString() ?? '[]'));
  const paths = new Set(kept.map(({ path }) => path));
  const wanted = links.filter(({ source, target }) => paths.has(source) && !target.endsWith('.so'));
  return [
    ...kept.map((file) => entryOf(`${below}/${file.path}`, file)),
    ...wanted.map(({ source, target }) => {
      return { path: `${below}/${target}`, target: posix.relative(posix.dirname(target), source) };
    }),
  ];
}

function entryOf(path: string, { bytes, executable }: PackedFile): TreeEntry {
  return { path, mode: executable ? programMode : plainMode, bytes };
}
