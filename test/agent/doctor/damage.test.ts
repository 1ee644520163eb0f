import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, test } from 'node:test';
import { lookAtDamage } from '../../../agent/doctor/running.ts';
import { Wrong } from '../../../common/checkup.ts';
import { tempFolder } from '../watching.ts';

const dataDir = join(tempFolder(), 'data dir');
const damaged = ['20260101T000000.003Z', '20260301T000000.000Z'].map((at) => join(dataDir, `outbox.corrupt-${at}`));
const none = Promise.resolve(null);

beforeEach(() => {
  rmSync(dataDir, { recursive: true, force: true });
  mkdirSync(dataDir);
});

async function foundWrong(looked: Promise<string>): Promise<{ readonly detail: string; readonly fix: string }> {
  const thrown: unknown = await looked.catch((error: unknown) => error);
  assert.ok(thrown instanceof Wrong, String(thrown));
  return { detail: thrown.message, fix: thrown.fix };
}

test('a node whose outbox was never damaged is in order', async () => {
  assert.equal(await lookAtDamage(dataDir, none), 'none was found');
});

test('what was damaged is told of until it is removed as it says, whether the agent runs or not', async () => {
  for (const path of damaged) mkdirSync(path);
  const { detail, fix } = await foundWrong(lookAtDamage(dataDir, none));
  assert.equal(detail, `the outbox was damaged, and built anew; what was damaged is ${damaged[1]}`);
  assert.ok(fix.endsWith(`then: rm -r ${damaged.map((path) => `'${path}'`).join(' ')}`), fix);
});

test('an agent that has built it anew says why, how much was kept, and what is missing', async () => {
  mkdirSync(damaged[0] ?? '');
  const recovered = { reason: 'a table is damaged', salvaged: 7, missing: 2, quarantine: damaged[0] ?? '' };
  const { detail } = await foundWrong(lookAtDamage(dataDir, Promise.resolve(recovered)));
  assert.match(detail, /built anew \(a table is damaged; 7 entries kept, 2 missing\); what was damaged is /);
});

test('one that found nothing left of it says so until it is started again', async () => {
  const recovered = { reason: 'the folder is gone', salvaged: 0, missing: null, quarantine: null };
  const { detail, fix } = await foundWrong(lookAtDamage(dataDir, Promise.resolve(recovered)));
  assert.match(detail, /^the outbox was gone, .*0 entries kept, nobody knows how many are missing\)$/);
  assert.match(fix, /systemctl restart sigilwatch-agent$/);
});
