import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { alertNameOf, alertNames, severitiesOf } from '../../../collector/alerts/catalog.ts';
import { defaultTemplateTexts, templateForms } from '../../../collector/alerts/message-templates.ts';
import { ruleSettings } from '../../../collector/alerts/rules/settings.ts';

const docs = join(import.meta.dirname, '../../../docs');
const page = readFileSync(join(docs, 'alerts.md'), 'utf8');

test('the table of alerts names each with its severities, the worst last', () => {
  const rows = [...page.matchAll(/^\| `([a-z]+\.[a-z_]+\/[^`]+)` \| ([a-z, ]+) \|/gm)];
  const listed = rows.map(([, key = '', severities]) => `${alertNameOf(key)}: ${severities}`);
  assert.deepEqual(listed.sort(), alertNames.map((name) => `${name}: ${severitiesOf(name).join(', ')}`).sort());
});

test('the settings of rules are shown with their defaults', () => {
  for (const [name, value] of Object.entries(ruleSettings.parse({}))) {
    if (name !== 'off') assert.match(page, new RegExp(`^    ${name}: ${String(value)}\\b`, 'm'));
  }
});

test('templates are shown as they are by default, and each placeholder has its place in a table', () => {
  for (const [name, text] of Object.entries(defaultTemplateTexts))
    assert.ok(page.includes(`\n  ${name}: '${text}'`), name);
  const rows = page.split('\n').filter((line) => /^\| `\{/.test(line));
  const listed = rows.flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`\{(\w+)\}`/g)].map(([, name]) => name));
  const { bodyTemplate, severalTemplate } = templateForms;
  assert.deepEqual(listed, [...bodyTemplate.names, ...severalTemplate.names]);
});

/** As operators see it: without a part of it, whoever is woken up has to search. */
const parts = ['## What it means', '## What to look at', '## What to do', '## When it ends'];

for (const name of alertNames) {
  test(`${name} has a page that says what to do`, () => {
    const text = readFileSync(join(docs, 'runbook', `${name}.md`), 'utf8');
    assert.ok(text.startsWith(`# ${name}: `));
    const found = text.split('\n').filter((line) => line.startsWith('## '));
    assert.deepEqual(found, parts);
    assert.match(text, /```sh\n/);
  });
}
