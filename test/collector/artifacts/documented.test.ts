import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { artifactSettings } from '../../../collector/artifacts/settings.ts';
import { scoreParts } from '../../../common/kinds.ts';

const page = readFileSync(join(import.meta.dirname, '../../../docs/artifacts.md'), 'utf8');

test('the settings of scoring are shown with their defaults, and the thresholds shown are ones', () => {
  const [, yaml = ''] = /```yaml\n(artifacts:[^`]*)```/.exec(page) ?? [];
  const { scoring } = artifactSettings.parse(parse(yaml).artifacts);
  assert.equal(scoring.thresholds.length, 2);
  assert.deepEqual({ ...scoring, thresholds: [] }, artifactSettings.parse({ scoring: { weights: {} } }).scoring);
});

test('each part of a score has its row', () => {
  const rows = [...page.matchAll(/^\| `([a-z]+)` \|/gm)].map(([, part]) => part);
  assert.deepEqual(rows.toSorted(), [...scoreParts].sort());
});
