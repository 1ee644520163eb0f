import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { buildFolderPrefix } from './from-source.ts';

export interface TestBundle {
  /** The built files, in the order in which their sources were given. */
  readonly files: readonly string[];
  /** The source of a built file; any other path as it is. */
  readonly sourceOf: (file: string) => string;
  readonly remove: () => void;
}

/**
 * Test files as plain JavaScript: to load and translate a hundred modules anew takes each of two hundred processes a second, and
 * to build all of them in one go takes one. What they share is shared in the build, too.
 * @param sources paths below `root`.
 * @param programs the same, of what tests start as processes of their own; built, and not among the files.
 */
export async function bundleTests(
  root: string,
  sources: readonly string[],
  programs: readonly string[] = [],
): Promise<TestBundle> {
  // Below the root, so that packages are found; a folder for each run, since several may run at once.
  const folder = mkdtempSync(join(root, buildFolderPrefix));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    await build({
      absWorkingDir: root,
      entryPoints: [...sources, ...programs],
      outdir: folder,
      outbase: root,
      ...{ bundle: true, splitting: true, packages: 'external' },
      ...{ platform: 'node', format: 'esm', target: 'node20', sourcemap: 'linked', logLevel: 'error' },
      plugins: [knowingTheirPlace],
    });
  } catch (thrown) {
    remove();
    throw thrown;
  }
  const builtOf = (source: string) => join(folder, relative(root, resolve(root, source)).replace(/\.ts$/, '.js'));
  const sourceBy = new Map(sources.map((source) => [builtOf(source), resolve(root, source)]));
  return { files: sources.map(builtOf), sourceOf: (file) => sourceBy.get(resolve(file)) ?? file, remove };
}

/** What each test file begins with. */
const wholeReport = join(import.meta.dirname, 'whole-report.ts');

/** Modules that look for files beside themselves find them where their source is. */
const knowingTheirPlace: Plugin = {
  name: 'knowing-their-place',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      // On the line that is there, so that the others keep their numbers.
      const first = path.endsWith('.test.ts') ? `import ${JSON.stringify(wholeReport)}; ` : '';
      const contents = `${first}${text}`
        .replaceAll('import.meta.dirname', JSON.stringify(dirname(path)))
        .replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href));
      return { contents, loader: 'ts' };
    });
  },
};
