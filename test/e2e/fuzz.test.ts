import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { maxRssMb, runCampaign, startFuzzCollector } from '../fuzz/campaign.ts';
import { makeTemporaryFolder, removeLeftovers } from '../system.ts';
import { seedOf } from './random.ts';

const long = process.env.SIGILWATCH_TEST_LONG === '1';
const casesPerLane = long ? 4_000 : 200;
/** Only so that it ends; the count of cases decides. */
const boundSeconds = long ? 1_200 : 240;
const folder = makeTemporaryFolder('sgw-fuzz-');

after(removeLeftovers);

test('whatever is sent to it, a collector answers, stays up, stays small, and serves everybody else', async () => {
  const collector = await startFuzzCollector(join(folder.path, 'collector'));
  const seed = seedOf('fuzz', 20_261_123);
  const found = await runCampaign({ collector, seed, casesPerLane, seconds: boundSeconds, progress: () => {} });
  assert.deepEqual(found.failures, [], `seed ${seed}`);
  assert.ok(found.peakRssMb > 0 && found.peakRssMb < maxRssMb, `${found.peakRssMb} MB resident`);
  for (const status of ['101', '200', '400', '401', '422']) {
    assert.ok((found.answers[status] ?? 0) > 0, `some got as far as ${status}: ${JSON.stringify(found.answers)}`);
  }
  await collector.stop();
});
