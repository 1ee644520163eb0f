import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, watch } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { keptFiles } from '../../../../agent/sigils/kept/kept-files.ts';
import { SigilScanner } from '../../../../agent/sigils/scanner.ts';
import { randomOf } from '../../../e2e/random.ts';
import { fromSource } from '../../../from-source.ts';
import { clock, secret, temporaryFolder, Watch } from '../stores.ts';
import { countKeys, withWriter } from '../writers.ts';
import { Keeping } from './keeping.ts';

const rounds = process.env.SIGILWATCH_TEST_LONG === '1' ? 200 : 6;
const seed = 20_261_122;
const nights = new URL('kept-nights.ts', import.meta.url).pathname;

/** Runs nights until they are killed: at a step of the work, or when so many things have appeared, moved and gone among the snapshots. */
async function killed(
  path: string,
  dataDir: string,
  at: { readonly step: number } | { readonly events: number },
  firstNight: number,
) {
  const shelf = join(dataDir, 'kept', 'main');
  const step = 'step' in at ? at.step : 0;
  const child = spawn(process.execPath, [...fromSource(nights), path, dataDir, String(step), String(firstNight)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  let left = 'events' in at ? at.events : Number.POSITIVE_INFINITY;
  const watcher = watch(shelf, () => {
    left--;
    if (left === 0) child.kill('SIGKILL');
  });
  await once(child, 'exit');
  watcher.close();
}

test(`whatever moment a snapshot is interrupted at, what counts is whole, and the store's owner loses nothing (seed ${seed})`, async (t) => {
  const folder = temporaryFolder(t);
  const [path, dataDir] = [join(folder, 'db'), join(folder, 'data')];
  mkdirSync(join(dataDir, 'kept', 'main'), { recursive: true });
  const random = randomOf(seed, 'kept');
  const load = ['--rate', '2000', '--overwrite', '0.3', '--write-buffer-kib', '64'];
  let looked = 0;
  const told = await withWriter(path, load, async (writer) => {
    for (let round = 0; round < rounds; round++) {
      const at = round % 2 === 0 ? { step: random.int(1, 150) } : { events: random.int(1, 8) };
      await killed(path, dataDir, at, round * 100);
      const keeping = new Keeping(path, dataDir, { keep: 2 });
      for (const { folder: kept, id } of await keeping.shelf.list()) {
        const scanner = new SigilScanner({
          name: 'main',
          path: kept,
          files: keptFiles(kept),
          secrets: [secret],
          clock,
        });
        const { findings, settled } = await scanner.scan({ mode: 'full', state: null, openFindings: [] });
        assert.deepEqual([findings, settled], [[], true], `round ${round}, ${JSON.stringify(at)}, ${id}`);
        looked++;
      }
    }
    writer.process.kill('SIGTERM');
    return JSON.parse(await writer.line());
  });
  assert.ok(looked > 0, 'no snapshot was ever kept');
  assert.equal(await countKeys(path), told.keys);
  assert.deepEqual((await new Watch(path).scan('full')).findings, []);
  const last = new Keeping(path, dataDir, { keep: 2 });
  last.clock.stepMs = 100 * 86_400_000;
  await last.night();
  assert.deepEqual(readdirSync(last.shelf.folder).sort(), (await last.ids()).toReversed());
});
