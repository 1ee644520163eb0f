import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { AcceptanceFolder } from '../../../agent/integrity/acceptances.ts';
import { limits } from '../../../common/limits.ts';

let dataDir: string;
before(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'sigilwatch-accepted-'));
});
after(() => rm(dataDir, { recursive: true, force: true }));

test('what lies in the folder of acceptances and is none holds nothing up, and accepts nothing', async () => {
  const folder = new AcceptanceFolder(dataDir);
  const meant = { store: 'main', key: 'lyra!sigil!A!1', at: '2026-01-01T00:00:00.000Z', reason: 'they left' };
  await folder.leave(meant);
  const inbox = join(dataDir, 'accepted.inbox');
  execFileSync('mkfifo', [join(inbox, '0-pipe.json')]);
  await mkdir(join(inbox, '1-folder.json'));
  await writeFile(join(dataDir, 'elsewhere.json'), JSON.stringify(meant));
  await symlink(join(dataDir, 'elsewhere.json'), join(inbox, '2-link.json'));
  await writeFile(join(inbox, '3-huge.json'), Buffer.alloc(limits.maxAcceptanceBytes + 1, ' '));
  await writeFile(join(inbox, '4-text.json'), 'yes');
  const waiting = await folder.waiting('main');
  assert.deepEqual(
    waiting.map(({ key, reason }) => [key, reason]),
    [[meant.key, meant.reason]],
  );
});
