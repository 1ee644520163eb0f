import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fromSource } from '../../from-source.ts';
import { tempDir } from './support.ts';

/** Growth allowed between a short and a long queue: what garbage collection and the allocator differ by, run to run. */
const noiseMb = 24;

/** As the agent is run; without them the young generation alone takes more than the outbox. */
const agentFlags = ['--max-semi-space-size=1', '--optimize-for-size'];

function queueAndDrain(t: TestContext, entries: number): { sizes: Record<string, number>; parent: string } {
  const parent = tempDir(t);
  const script = join(import.meta.dirname, 'queuer.ts');
  const child = spawnSync(
    process.execPath,
    [...agentFlags, '--expose-gc', ...fromSource(script), parent, String(entries)],
    {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  assert.equal(child.status, 0);
  t.diagnostic(`${entries} entries: ${child.stdout.trim()}`);
  return { sizes: JSON.parse(child.stdout), parent };
}

test('memory does not grow with the queue, and its space is given back', { timeout: 120_000 }, (t) => {
  if (process.platform !== 'linux') return t.skip('resident memory is read from /proc');
  const short = queueAndDrain(t, 3_000).sizes;
  const { sizes: long, parent } = queueAndDrain(t, 30_000);
  for (const name of [
    'heapQueuedMb',
    'anonQueuedMb',
    'fileQueuedMb',
    'heapReopenedMb',
    'anonReopenedMb',
    'fileReopenedMb',
  ]) {
    const [few = 0, many = 0] = [short[name], long[name]];
    assert.ok(many < few + noiseMb, `${name}: ${few} MB for 3000 entries, ${many} MB for 30000`);
  }
  const left = readdirSync(join(parent, 'outbox')).reduce((sum, name) => {
    return sum + statSync(join(parent, 'outbox', name)).size;
  }, 0);
  assert.ok(left < 4 * 1024 * 1024, `${left} bytes left of a drained queue`);
});
