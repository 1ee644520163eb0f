import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { describe, it, type TestContext } from 'node:test';
import type { Level } from 'level';
import { AppError } from '../../../common/errors.ts';
import type { SigilFinding } from '../../../common/sigil.ts';
import { randomOf, seedOf } from '../../e2e/random.ts';
import { fromSource } from '../../from-source.ts';
import { flip, intoTables, nthRecord, secret, temporaryFolder, Watch, withStore } from './stores.ts';

const trials = process.env.SIGILWATCH_TEST_LONG === '1' ? 1_000 : 250;
const seed = seedOf('flips in stores');
const records = 90;
/** What a reader never looks at. */
const besides = new Set(['LOG', 'LOG.old', 'LOCK']);

interface Kind {
  readonly compression: boolean;
  readonly checksums: boolean;
}

/** Some in tables, the last third in the log. */
async function makeStore(path: string, { compression, checksums }: Kind): Promise<void> {
  const put = async (db: Level<string, unknown>, from: number, to: number) => {
    for (let nth = from; nth < to; nth++) {
      const { key, value } = nthRecord(nth);
      const { checksum, ...others } = value;
      await db.put(key, checksums ? { ...others, checksum } : others);
    }
  };
  await withStore(
    path,
    async (db) => {
      await put(db, 0, (records * 2) / 3);
      await intoTables(db);
      await put(db, (records * 2) / 3, records);
    },
    { compression },
  );
}

/** A program that reads stores, begun anew when one has made it crash: LevelDB takes some damage for a mistake of its own. */
function storeReader(t: TestContext): (path: string) => Promise<string> {
  let reader:
    | { readonly child: ChildProcess; readonly crashed: Promise<string>; readonly lines: Interface }
    | undefined;
  t.after(() => reader?.child.kill('SIGKILL'));
  const begin = () => {
    const script = join(import.meta.dirname, 'store-reader.ts');
    const child = spawn(process.execPath, fromSource(script), { stdio: ['pipe', 'pipe', 'ignore'] });
    const crashed = once(child, 'exit').then(() => {
      reader = undefined;
      return 'crashed';
    });
    return { child, crashed, lines: createInterface({ input: child.stdout }) };
  };
  return async (path) => {
    reader ??= begin();
    const { child, crashed, lines } = reader;
    child.stdin?.write(`${path}\n`);
    const answered = new Promise<string>((resolve) => lines.once('line', resolve));
    return Promise.race([answered, crashed]);
  };
}

/** In the file, or of a record by its key. */
function isLocated({ file, key }: SigilFinding, name: string): boolean {
  return file === name || key !== null;
}

describe('one flipped bit anywhere in the files of a store', () => {
  for (const kind of [
    { compression: true, checksums: true },
    { compression: true, checksums: false },
    { compression: false, checksums: true },
    { compression: false, checksums: false },
  ]) {
    const { compression, checksums } = kind;
    const named = `${compression ? 'compressed' : 'plain'}, ${checksums ? 'with' : 'without'} checksums`;
    it(`is found and located wherever a reader would see it, and the rest is still checked: ${named}`, async (t) => {
      const { int, pick } = randomOf(seed, named);
      const folder = temporaryFolder(t);
      const pristine = join(folder, 'pristine');
      await makeStore(pristine, kind);
      const reread = join(folder, 'reread');
      cpSync(pristine, reread, { recursive: true });
      const read = storeReader(t);
      const written = await read(reread);
      assert.match(written, /^[0-9a-f]{64}$/);
      const files = readdirSync(pristine).filter(
        (name) => statSync(join(pristine, name)).size > 0 && !besides.has(name),
      );
      let seenByReader = 0;
      for (let trial = 0; trial < trials / 4; trial++) {
        const [path, copy] = [join(folder, `damaged-${trial}`), join(folder, `read-${trial}`)];
        cpSync(pristine, path, { recursive: true });
        const name = pick(files);
        const at = int(0, statSync(join(path, name)).size - 1);
        flip(join(path, name), at, 1 << int(0, 7));
        cpSync(path, copy, { recursive: true });
        const where = `${name} byte ${at} (trial ${trial}, seed ${seed})`;
        const isSeen = (await read(copy)) !== written;
        if (isSeen) seenByReader++;
        const outcome = await new Watch(path, [secret]).scan('full').catch((thrown: unknown) => thrown);
        if (outcome instanceof Error) {
          assert.ok(outcome instanceof AppError && outcome.code.startsWith('store.'), `${where}: ${outcome}`);
          assert.equal(name, 'CURRENT', where);
          continue;
        }
        const { findings, sigils } = Object(outcome);
        assert.ok(!isSeen || findings.length > 0, `${where}: a reader sees it, and the scan does not`);
        assert.ok(
          findings.every((finding: SigilFinding) => isLocated(finding, name)),
          where,
        );
        // A block of a table, or of a log, is all that is lost; a whole table only with its index.
        if (name.endsWith('.log')) assert.ok(sigils >= (records * 2) / 3, `${where}: ${sigils} sigils`);
        if (name.endsWith('.ldb')) assert.ok(sigils >= records / 3, `${where}: ${sigils} sigils`);
      }
      assert.ok(seenByReader > 0);
    });
  }
});
