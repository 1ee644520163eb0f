import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type AlertItem, type AlertNotice, worstOf } from '../../../collector/alerts/alert.ts';
import {
  defaultTemplates,
  defaultTemplateTexts,
  messageTemplates,
  templateForms,
} from '../../../collector/alerts/message-templates.ts';
import { fill, readTemplate } from '../../../collector/alerts/template.ts';
import {
  bodyOf,
  conditionOf,
  fitted,
  fittedLines,
  headlineOf,
  stateOf,
  titleOf,
} from '../../../collector/alerts/text.ts';
import { limits } from '../../../common/limits.ts';
import { printable } from '../../../common/printable.ts';
import { alertItem, foreignText, templateText } from '../../arbitrary/alerts.ts';
import { itemWith, noticeOf, resolvedItem } from './notices.ts';

const seed = Number(process.env.SIGILWATCH_TEST_SEED ?? Date.now() % 1_000_000);
const form = { names: ['a', 'b', 'node'], lines: true } as const;
const values = { a: 'A', b: null, node: 'node1' };

function filledBy(text: string, given: typeof values | Record<'a' | 'b' | 'node', string | null> = values): string {
  const read = readTemplate(text, form);
  assert.ok(read.problem === undefined, read.problem);
  return fill(read.template, given);
}

const around = { origin: 'example.org/ledger' };
const notice = (...items: readonly AlertItem[]): AlertNotice => noticeOf(items);

describe(`a template (seed ${seed})`, () => {
  test('is text with values, and groups that stand only where there is a value', () => {
    const cases = [
      ['{a}', 'A'],
      ['{a} on {node}', 'A on node1'],
      ['{b}', ''],
      ['x{?node: on {node}}y', 'x on node1y'],
      ['x{?b: on {node}}y', 'xy'],
      ['{?a:}{?a:}x', 'x'],
      ['{?a:first\nsecond}', 'first\nsecond'],
      ['a: b, ?c $d %s <x> \\n', 'a: b, ?c $d %s <x> \\n'],
      ['{a}\n\n', 'A'],
      ['{b}\n{a}\n {b} \n\n{node}', 'A\nnode1'],
    ] as const;
    for (const [text, filled] of cases) assert.equal(filledBy(text), filled, text);
  });

  test('is refused with what is wrong and what there is', () => {
    const placeholders = /\{a\} \{b\} \{node\}/;
    const cases = [
      ['{hostname}', /\{hostname\} is none of them/],
      ['{A}', /\{A\} is none/],
      ['{ a }', /\{ a \} is none/],
      ['{}', /\{\} is none/],
      ['{{a}}', /\{\{a\}\} has more than one brace/],
      ['{a} {b on {a', /\{b on \{a is not closed/],
      ['on {a', /\{a is not closed/],
      ['on {', /\{ is not closed/],
      ['a}', /a \} closes nothing/],
      ['{?a:x', /\{\?a: is not closed/],
      ['{?a}', /\{\?a\} is none/],
      ['{?c:x}', /\{\?c: is none/],
      ['{?a:{?b:x}}', /\{\?b: stands inside of \{\?a:/],
      ['', /not a blank one/],
      [' \n ', /not a blank one/],
      ['x\u0000', /no control characters/],
      ['x\u202ey', /no control characters/],
      ['x'.repeat(limits.maxAlertTemplateChars + 1), /at most 1000 characters/],
    ] as const;
    for (const [text, expected] of cases) {
      const { problem = '' } = readTemplate(text, form);
      assert.match(problem, expected, text);
      assert.match(problem, placeholders);
    }
    assert.match(readTemplate('a\nb', { ...form, lines: false }).problem ?? '', /one line/);
  });

  test('that is refused shows no more of itself than helps', () => {
    const { problem = '' } = readTemplate(`{${'x'.repeat(900)}}`, form);
    assert.ok(problem.length < 250, problem);
  });

  test('puts each value in once: what a value holds is never a placeholder', () => {
    fc.assert(
      fc.property(foreignText, foreignText, (a, b) => {
        const [one, two] = [a, b].map((text) => printable(text.replace(/[\t\r\n]+/g, ' ')));
        assert.equal(filledBy('<{a}|{?b:{b}{a}}>', { a, b, node: null }), `<${one}|${two}${one}>`);
      }),
      { seed },
    );
  });

  test('of any text is either read or refused, and never has lines that only a value has', () => {
    const any = fc.array(fc.constantFrom('{', '}', '?', ':', 'a', 'b', '{a}', '{?b:', '\n', ' ', 'x'), {
      maxLength: 14,
    });
    fc.assert(
      fc.property(any, foreignText, (parts, value) => {
        const read = readTemplate(parts.join(''), form);
        if (read.problem !== undefined) return;
        const text = fill(read.template, { a: value, b: value, node: value });
        assert.ok(text.split('\n').length <= parts.join('').trimEnd().split('\n').length);
        assert.ok(!fill(read.template, { a: null, b: null, node: null }).includes('{'));
      }),
      { seed, numRuns: 500 },
    );
  });
});

/** The texts as they were before there were templates. */
const before = {
  headline: (item: AlertItem) =>
    `${stateOf(item)}: ${conditionOf(item)}${item.node === null ? '' : ` on ${item.node}`}`,
  body: ({ change, summary, reason }: AlertItem) => {
    const what = summary.trim() === '' ? 'no summary' : summary;
    return change === 'resolved' && reason !== null ? `${reason} (it was: ${what})` : what;
  },
  several: (items: readonly AlertItem[]) => {
    const standing = items.filter(({ change }) => change !== 'resolved');
    const over = items.length - standing.length;
    const worst = worstOf(standing.map(({ severity }) => severity)).toUpperCase();
    const alerts = `${standing.length} ${standing.length === 1 ? 'alert' : 'alerts'}, worst ${worst}`;
    return [...(standing.length > 0 ? [alerts] : []), ...(over > 0 ? [`${over} resolved`] : [])].join(', ');
  },
};

describe(`what is said without templates in the settings (seed ${seed})`, () => {
  const asLine = (text: string) => printable(text.replace(/[\t\r\n]+/g, ' '));

  test('is what was said before there were any', () => {
    fc.assert(
      fc.property(alertItem, fc.array(alertItem, { minLength: 2, maxLength: 10 }), (item, items) => {
        assert.equal(headlineOf(item, around, defaultTemplates), asLine(before.headline(item)));
        assert.equal(bodyOf(item, around, defaultTemplates), asLine(before.body(item)));
        assert.equal(titleOf(notice(item), defaultTemplates), asLine(before.headline(item)));
        assert.equal(titleOf(notice(...items), defaultTemplates), before.several(items));
      }),
      { seed, numRuns: 300 },
    );
  });

  test('is said by templates that an operator could set', () => {
    assert.deepEqual(messageTemplates(defaultTemplateTexts), defaultTemplates);
  });
});

describe(`what templates say (seed ${seed})`, () => {
  const said = (bodyTemplate: string, item: AlertItem, runbookUrl?: string) =>
    bodyOf(item, { ...around, runbookUrl }, messageTemplates({ bodyTemplate }));

  test('has every value by its name', () => {
    const text = templateForms.bodyTemplate.names.map((name) => `${name}={${name}}`).join('\n');
    const item = resolvedItem({
      key: 'disk.low/node1',
      summary: 'sda is full',
      reason: 'it is not',
      severity: 'error',
    });
    assert.deepEqual(said(text, item, 'https://wiki.example.org').split('\n'), [
      ...['state=RESOLVED', 'alert=disk.low', 'meaning=A disk is filling up', 'severity=error', 'node=node1'],
      ...['key=disk.low/node1', 'summary=sda is full', 'reason=it is not'],
      ...['since=2026-03-01T10:00:00.000Z', 'until=2026-03-01T10:00:30.000Z', 'index=41'],
      ...['runbook=https://wiki.example.org/disk.low.md', 'origin=example.org/ledger'],
    ]);
  });

  test('has nothing where there is no value', () => {
    const item = itemWith({ key: 'test/1', node: null, index: null, reason: 'of before' });
    assert.equal(said('<{node}{reason}{until}{index}{runbook}>', item), '<>');
    assert.equal(said('{meaning}', item), 'test');
  });

  test('counts for the title of several', () => {
    const severalTemplate = '{total}: {standing}/{resolved}, {worst} ({tally}) {origin}';
    const title = (...items: AlertItem[]) => titleOf(notice(...items), messageTemplates({ severalTemplate }));
    assert.equal(
      title(itemWith(), resolvedItem()),
      '2: 1/1, ERROR (1 alert, worst ERROR, 1 resolved) example.org/ledger',
    );
    assert.equal(title(resolvedItem(), resolvedItem()), '2: /2,  (2 resolved) example.org/ledger');
  });

  test('is what comes with the program where the template has nothing to say', () => {
    const templates = messageTemplates({
      titleTemplate: '{?reason:{reason}}',
      bodyTemplate: '{reason}\n{until}',
      severalTemplate: '{resolved}',
    });
    const item = itemWith();
    assert.equal(headlineOf(item, around, templates), 'ERROR: enforcement.daily_limit on node1');
    assert.equal(bodyOf(item, around, templates), 'the daily limit of node1 is used up');
    assert.equal(titleOf(notice(item, item), templates), '2 alerts, worst ERROR');
    assert.equal(bodyOf(resolvedItem(), around, templates), 'nothing is held up any more\n2026-03-01T10:00:30.000Z');
  });

  test('is never blank, and a test always says first that it is one', () => {
    fc.assert(
      fc.property(templateText('titleTemplate'), templateText('bodyTemplate'), alertItem, (title, body, item) => {
        const templates = messageTemplates({ titleTemplate: title, bodyTemplate: body });
        assert.notEqual(headlineOf(item, around, templates).trim(), '');
        assert.notEqual(bodyOf(item, around, templates).trim(), '');
        assert.match(titleOf({ ...notice(item), isTest: true }, templates), /^TEST /);
      }),
      { seed, numRuns: 300 },
    );
  });

  test('of a channel goes before that of all, and that before what comes with the program', () => {
    const templates = messageTemplates({ titleTemplate: 'own' }, { titleTemplate: 'all', bodyTemplate: 'all' });
    const item = itemWith();
    assert.equal(headlineOf(item, around, templates), 'own');
    assert.equal(bodyOf(item, around, templates), 'all');
    assert.equal(titleOf(notice(item, item), templates), '2 alerts, worst ERROR');
  });

  test('is cut with a mark and never inside of an escape', () => {
    const escaped = (character: string) => (/[&<>{}]/.test(character) ? `(${character})` : character);
    fc.assert(
      fc.property(foreignText, fc.integer({ min: 1, max: 200 }), (text, maxChars) => {
        for (const cut of [fitted(text, maxChars, escaped), fittedLines(text, maxChars, escaped)]) {
          assert.ok(cut.length <= maxChars);
          assert.doesNotMatch(cut.replace(/\([&<>{}]\)/g, ''), /[&<>{}]/);
          assert.ok(cut.isWellFormed());
        }
      }),
      { seed, numRuns: 500 },
    );
  });
});
