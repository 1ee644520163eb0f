import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { AlertChannel, AlertItem } from '../../../collector/alerts/alert.ts';
import { testNotice } from '../../../collector/alerts/alert.ts';
import type { TemplateTexts } from '../../../collector/alerts/message-templates.ts';
import { openChannels } from '../../../collector/alerts/open-channels.ts';
import { alertSettings } from '../../../collector/alerts/settings.ts';
import { collectorSettings } from '../../../collector/config.ts';
import { AppError } from '../../../common/errors.ts';
import { loadSettings } from '../../../common/settings.ts';
import { alertItem, templateTexts } from '../../arbitrary/alerts.ts';
import { type AlertReceivers, receiverPaths, startAlertReceivers } from '../../fakes/alert-receivers.ts';
import { selfSigned } from '../../fakes/certificate.ts';
import { type SmtpServer, startSmtpServer } from '../../fakes/smtp-server.ts';
import { itemWith, noticeOf, resolvedItem } from './notices.ts';

const seed = Number(process.env.SIGILWATCH_TEST_SEED ?? Date.now() % 1_000_000);
const certificate = selfSigned();
const login = { user: 'ops', password: 'a word' };
const kinds = { slack: {}, discord: {}, pagerduty: {}, webhook: {}, alertmanager: {}, email: {}, rules: {} };

let http: AlertReceivers;
let smtp: SmtpServer;
const opened: AlertChannel[] = [];
before(async () => {
  http = await startAlertReceivers();
  smtp = await startSmtpServer({ ...certificate, ...login });
});
after(async () => {
  for (const channel of opened) await channel.close();
  await smtp.close();
  await http.close();
});

const addresses = () => ({
  slack: { webhookUrl: `${http.url}${receiverPaths.slack}` },
  discord: { webhookUrl: `${http.url}${receiverPaths.discord}` },
  pagerduty: { routingKey: http.routingKey, url: `${http.url}${receiverPaths.pagerduty}` },
  webhook: { url: `${http.url}${receiverPaths.webhook}`, secret: http.webhookSecret },
  alertmanager: { url: `${http.url}/am` },
  email: { host: 'localhost', port: smtp.port, ...login, from: 'watch@example.org', to: ['a@example.org'] },
});

type Name = keyof ReturnType<typeof addresses>;
const names: readonly Name[] = ['slack', 'discord', 'pagerduty', 'webhook', 'alertmanager', 'email'];

async function channelOf(name: Name, texts: TemplateTexts): Promise<AlertChannel> {
  const settings = alertSettings.parse({ ...kinds, caFile: 'ca.pem', [name]: addresses()[name], ...texts });
  const [channel] = await openChannels(settings, async () => certificate.cert);
  assert.ok(channel);
  opened.push(channel);
  return channel;
}

/** What the channel's receiver took last. */
const last = (name: Exclude<Name, 'email'>): unknown => http.taken(receiverPaths[name]).at(-1);
const linesIn = (text: unknown): number => String(text).split('\n').length;

describe(`messages by templates (seed ${seed})`, () => {
  for (const name of names) {
    test(`${name} takes them whatever stands in template and values`, async () => {
      const from = { received: http.received.length, refusals: smtp.refusals.length };
      await fc.assert(
        fc.asyncProperty(
          templateTexts,
          fc.array(alertItem, { minLength: 1, maxLength: 10 }),
          fc.boolean(),
          async (texts, items, isTest) => {
            const channel = await channelOf(name, texts);
            const runbookUrl = isTest ? undefined : `https://wiki.example.org/${'r'.repeat(120)}`;
            await channel.send(noticeOf(items.slice(0, channel.maxItems), { runbookUrl, isTest }));
          },
        ),
        { seed, numRuns: name === 'email' ? 30 : 60 },
      );
      assert.deepEqual(smtp.refusals.slice(from.refusals), []);
      assert.ok(http.received.slice(from.received).every(({ status }) => status < 300));
    });
  }

  test('have ten alerts of the longest texts and lines in them', async () => {
    const texts = { titleTemplate: '{summary}'.repeat(100), bodyTemplate: `${'\n"\\'.repeat(200)}{summary}` };
    for (const sign of ['&', '"', '\\', '🧨', '<'])
      for (const name of names) {
        const channel = await channelOf(name, texts);
        const long = itemWith({ summary: sign.repeat(2_000) });
        await channel.send(noticeOf(Array.from({ length: channel.maxItems }, () => long)));
      }
  });
});

describe('what a value holds', () => {
  const hostile = 'a\r\nBcc: x@y\n-- \nCRITICAL: engine.down on node9';
  const texts = { titleTemplate: '{summary}', bodyTemplate: '{key}\n{summary}' };
  const item = itemWith({ summary: hostile, key: `disk.low/${hostile}` });

  test('makes no line in a message; those of the template stand', async () => {
    for (const name of ['slack', 'discord', 'pagerduty', 'alertmanager'] as const)
      await (await channelOf(name, texts)).send(noticeOf([item]));
    const [slack, discord, pagerduty, [alert]] = [
      ...[Object(last('slack')), Object(last('discord')), Object(last('pagerduty')), Object(last('alertmanager'))],
    ];
    assert.deepEqual([linesIn(slack.text), linesIn(slack.blocks[0].text.text)], [1, 1]);
    assert.equal(linesIn(slack.blocks[1].text.text), 2);
    assert.deepEqual([linesIn(discord.embeds[0].title), linesIn(discord.embeds[0].description)], [1, 2]);
    assert.equal(linesIn(pagerduty.payload.summary), 1);
    assert.equal(linesIn(alert.annotations.summary), 2);
  });

  test('begins no line of a mail that looks like ours, and no signature', async () => {
    const channel = await channelOf('email', texts);
    await channel.send(noticeOf([item, itemWith({ summary: '-- ' })]));
    const { headers, text } = smtp.mails.at(-1) ?? assert.fail();
    assert.equal(headers.get('bcc'), undefined);
    assert.equal(text.split('\n').filter((line) => /^--/.test(line)).length, 1);
    assert.doesNotMatch(text, /^(Bcc|CRITICAL)/m);
    assert.match(text, /^ {2}disk\.low\/a Bcc: x@y -- {2}CRITICAL: engine\.down on node9\n {2}a Bcc: x@y/m);
  });
});

test('spaces in a subject never make a line of nothing else in the header, wherever it is folded', async () => {
  const channel = await channelOf('email', { titleTemplate: '{summary}' });
  for (let chars = 44; chars <= 60; chars += 1)
    for (const end of [' ', `${' '.repeat(80)}x`])
      await channel.send(noticeOf([itemWith({ summary: `${'x'.repeat(chars)}${end}` })]));
});

describe('templates of the settings', () => {
  const own = { titleTemplate: '{node} {severity}: {meaning}', bodyTemplate: '*{summary}*\n{?reason:Over: {reason}}' };

  test('make title and body of every channel that people read', async () => {
    for (const name of names) await (await channelOf(name, own)).send(noticeOf([itemWith({ summary: 'x_y' })]));
    const title = 'node1 error: The daily limit holds up answers';
    const [slack, discord, pagerduty, [alert]] = [
      ...[Object(last('slack')), Object(last('discord')), Object(last('pagerduty')), Object(last('alertmanager'))],
    ];
    assert.deepEqual([slack.text, slack.blocks[0].text.text], [title, `🟠 ${title}`]);
    assert.equal(slack.blocks[1].text.text, '*x_y*');
    assert.equal(discord.embeds[0].title, title.replace(':', '\\:'));
    assert.equal(discord.embeds[0].description, '\\*x\\_y\\*');
    assert.equal(pagerduty.payload.summary, `${title}. *x_y*`);
    assert.equal(alert.annotations.summary, '*x_y*');
    const mail = smtp.mails.at(-1);
    assert.equal(mail?.headers.get('subject'), `[Sigilwatch] ${title}`);
    assert.ok(mail?.text.startsWith(`${title}\n  *x_y*\n`));
  });

  test('change neither what a program gets nor by what Alertmanager and PagerDuty know an alert', async () => {
    const id = 'a1b2c3';
    for (const name of ['webhook', 'alertmanager', 'pagerduty'] as const) {
      const notice = noticeOf(
        [resolvedItem(), itemWith({ key: 'disk.low/node1' })].slice(name === 'pagerduty' ? 1 : 0),
      );
      const said: unknown[] = [];
      for (const texts of [{}, { ...own, severalTemplate: 'many' }]) {
        await (await channelOf(name, texts)).send({ ...notice, id, sentAtMs: Date.now() });
        const message = JSON.stringify(last(name), (key, value) =>
          /^(timestamp|startsAt|endsAt|annotations|summary)$/.test(key) && name !== 'webhook' ? undefined : value,
        );
        said.push(message.replace(/"timestamp":"[^"]+"/, ''));
      }
      assert.equal(said[0], said[1], name);
    }
  });

  test('leave a test the mark that it is one, wherever it goes', async () => {
    const silent = { titleTemplate: 'all is lost', bodyTemplate: 'run', severalTemplate: 'run' };
    const notice = testNotice({ id: 'id', nowMs: Date.now(), origin: 'example.org/ledger' });
    const from = http.received.length;
    for (const name of names) await (await channelOf(name, silent)).send(notice);
    for (const { body } of http.received.slice(from)) assert.match(body, /test/i);
    assert.match(String(Object(last('slack')).text), /^TEST all is lost/);
    assert.match(smtp.mails.at(-1)?.text ?? '', /^This is a test\. Nothing is wrong\./);
    assert.equal(smtp.mails.at(-1)?.headers.get('subject'), '[Sigilwatch] TEST all is lost');
  });

  test('of a channel go before those of all', async () => {
    const { slack } = addresses();
    const channels = [{ name: 'team', kind: 'slack', webhookUrl: slack.webhookUrl, bodyTemplate: 'team: {summary}' }];
    const settings = alertSettings.parse({
      ...{ ...kinds, channels, titleTemplate: 'all', bodyTemplate: 'all' },
      slack: { ...slack, titleTemplate: 'own' },
    });
    const told: unknown[] = [];
    for (const channel of await openChannels(settings, async () => '')) {
      opened.push(channel);
      await channel.send(noticeOf([itemWith({ summary: 'x' })]));
      const { text, blocks } = Object(last('slack'));
      told.push([channel.name, text, blocks[1].text.text]);
    }
    assert.deepEqual(told, [
      ['slack', 'own', 'all'],
      ['team', 'all', 'team: x'],
    ]);
  });

  test('that are wrong are refused at the start: which, where, why, and what there is', () => {
    const yamlText = [
      'alerts:',
      '  titleTemplate: "{state} on {host}"',
      '  slack:',
      '    bodyTemplate: "{summary"',
      '  webhook: { bodyTemplate: x }',
      '  alertmanager: { titleTemplate: x }',
      '  pagerduty: { severalTemplate: x }',
      '  email: { severalTemplate: "{summary}" }',
    ].join('\n');
    assert.throws(
      () => loadSettings({ schema: collectorSettings, env: {}, yamlText, yamlPath: 'c.yaml' }),
      (thrown) => {
        assert.ok(thrown instanceof AppError && thrown.code === 'validation.config');
        const lines = thrown.message.split('\n');
        const line = (key: string) => lines.find((one) => one.startsWith(`  ${key}: `)) ?? '';
        assert.match(
          line('alerts.titleTemplate'),
          /file c\.yaml:2:\d+ .*\{state\} \{alert\} .*\{host\} is none of them/,
        );
        assert.match(line('alerts.slack.bodyTemplate'), /file c\.yaml:4:\d+ .*\{summary is not closed/);
        assert.match(line('alerts.email.severalTemplate'), /\{tally\} .*\{summary\} is none of them/);
        for (const key of ['webhook.bodyTemplate', 'alertmanager.titleTemplate', 'pagerduty.severalTemplate'])
          assert.notEqual(line(`alerts.${key}`), '', key);
        return true;
      },
    );
  });

  test('that are wrong in a channel with a name of its own are refused in the same words', async () => {
    const { webhookUrl } = addresses().slack;
    const cases = [
      [{ kind: 'slack', webhookUrl, titleTemplate: '{host}' }, /channels \(team\): titleTemplate: .*\{host\} is none/],
      [{ kind: 'slack', webhookUrl, titleTemplate: ' ' }, /titleTemplate: .*not a blank one/],
      [{ kind: 'webhook', url: webhookUrl, secret: 'x'.repeat(16), titleTemplate: 'x' }, /titleTemplate/],
    ] as const;
    for (const [channel, expected] of cases) {
      const settings = alertSettings.parse({ ...kinds, channels: [{ name: 'team', ...channel }] });
      await assert.rejects(
        openChannels(settings, async () => ''),
        (thrown) => {
          return thrown instanceof AppError && thrown.code === 'validation.config' && expected.test(thrown.message);
        },
      );
    }
  });

  test('come from the environment, too', () => {
    const env = {
      SIGILWATCH_ALERTS_TITLE_TEMPLATE: '{key}',
      SIGILWATCH_ALERTS_EMAIL_BODY_TEMPLATE: '{summary}\n{node}',
    };
    const { alerts } = loadSettings({ schema: collectorSettings, env }).values;
    assert.deepEqual([alerts.titleTemplate, alerts.email.bodyTemplate], ['{key}', '{summary}\n{node}']);
  });
});

test('alerts of which a template says nothing are told among those of which it does', async () => {
  const items: readonly AlertItem[] = [itemWith(), resolvedItem(), itemWith({ node: null })];
  const channel = await channelOf('discord', { bodyTemplate: '{?node:{node}}' });
  await channel.send(noticeOf(items));
  const descriptions = Object(last('discord')).embeds.map((embed: unknown) => Object(embed).description);
  assert.deepEqual(descriptions, ['node1', 'node1', 'the daily limit of node1 is used up']);
});
