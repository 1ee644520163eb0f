import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { alertNames, runbookOf } from '../../../collector/alerts/catalog.ts';
import { conditionKeys } from '../../../collector/alerts/conditions.ts';
import { limits } from '../../../common/limits.ts';
import { alertingRules, pages, readText, root } from '../../monitoring/files.ts';

const sorted = (names: Iterable<string>): string[] => [...new Set(names)].sort();
const sources = readdirSync(join(root, 'collector'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => ({ name, text: readFileSync(join(root, 'collector', name), 'utf8') }));

describe('the list of alerts', () => {
  test('every key that the source makes begins with a name in it', () => {
    const made = sources.flatMap(({ name, text }) =>
      [...text.matchAll(/\bkey(?:: [^,;=]+)?(?:: | = )[`'"]([a-z_]+\.[a-z_]+)\//g)].map(
        ([, key = '']) => `${name} ${key}`,
      ),
    );
    assert.ok(made.length > 0);
    assert.deepEqual(
      made.filter((key) => !alertNames.includes(key.split(' ')[1] ?? '')),
      [],
    );
    for (const prefix of conditionKeys) assert.notEqual(runbookOf(prefix, undefined), null, prefix);
  });

  test('whoever puts an alert on record has its key checked by the compiler', () => {
    const raisers = sources.filter(({ text }) => text.includes("kind: 'alert.raised'"));
    const unchecked = raisers.filter(({ text }) => !/\b(AlertKey|Condition)\b/.test(text));
    assert.ok(raisers.length > 0);
    assert.deepEqual(
      unchecked.map(({ name }) => name),
      [],
    );
  });

  test('docs/alerts.md has a row for every name, and for nothing else', () => {
    const rows = readText('docs/alerts.md').matchAll(/^\| `([a-z_]+\.[a-z_]+)[`/]/gm);
    assert.deepEqual(sorted([...rows].map(([, name = '']) => name)), sorted(alertNames));
  });
});

describe('the runbook', () => {
  const linked = alertingRules().map(({ runbook }) => runbook.replace(/^docs\/runbook\//, ''));

  test('every alert has its page, and every page its alert: in the list, or in the rules for Prometheus', () => {
    assert.deepEqual(sorted(pages()), sorted([...alertNames.map((name) => `${name}.md`), ...linked]));
  });

  test('the index names every page', () => {
    const index = [...readText('docs/runbook/README.md').matchAll(/\]\(([\w.]+\.md)\)/g)].map(([, page = '']) => page);
    assert.deepEqual(sorted(index), sorted(pages()));
  });

  test('every page says what it means, what to look at, what to do, and when it ends', () => {
    for (const page of pages()) {
      const headings = [...readText(`docs/runbook/${page}`).matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
      assert.deepEqual(headings, ['What it means', 'What to look at', 'What to do', 'When it ends'], page);
    }
  });

  test('a name fits into what its link may take', () => {
    const base = `https://${'x'.repeat(limits.maxRunbookUrlChars - 'https://'.length)}`;
    for (const name of alertNames) assert.ok((runbookOf(`${name}/x`, base)?.place.length ?? 0) <= 200, name);
  });
});
