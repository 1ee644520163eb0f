import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openChannels } from '../../../collector/alerts/open-channels.ts';
import { type AlertSettings, alertSettings } from '../../../collector/alerts/settings.ts';
import { collectorSettings } from '../../../collector/config.ts';
import { AppError } from '../../../common/errors.ts';
import { formatSettings, loadSettings } from '../../../common/settings.ts';

const kinds = { slack: {}, discord: {}, pagerduty: {}, webhook: {}, alertmanager: {}, email: {}, rules: {} };
const settingsWith = (value: object): AlertSettings => alertSettings.parse({ ...kinds, ...value });
const hook = 'https://hooks.example.org/services/secret';
const files: Readonly<Record<string, string>> = { '/run/hook': `${hook}\n`, '/run/clear': 'http://example.org/x' };

async function read(path: string): Promise<string> {
  const text = files[path];
  if (text === undefined) throw new Error('ENOENT');
  return text;
}

const traitsOf = async (value: object) =>
  (await openChannels(settingsWith(value), read)).map(({ name, level, escalateAfterMs }) => [
    name,
    level,
    escalateAfterMs,
  ]);

describe('channels with names of their own', () => {
  test('stand beside the one of each kind, several of a kind, each with its own level and time', async () => {
    const channels = [
      { name: 'team-a', kind: 'slack', webhookUrl: hook, level: 'error' },
      { name: 'team-b', kind: 'slack', webhookUrl: hook, escalateAfterMs: 900_000 },
      { name: 'mail', kind: 'email', host: 'mail.example.org', from: 'a@example.org', to: ['b@example.org'] },
    ];
    assert.deepEqual(await traitsOf({ slack: { webhookUrl: hook, escalateAfterMs: 60_000 }, channels }), [
      ['slack', 'info', 60_000],
      ['team-a', 'error', null],
      ['team-b', 'info', 900_000],
      ['mail', 'info', null],
    ]);
  });

  test('take their secrets from files', async () => {
    const channels = [{ name: 'team-a', kind: 'slack', webhookUrlFile: '/run/hook' }];
    assert.deepEqual(await traitsOf({ channels }), [['team-a', 'info', null]]);
  });

  test('are held to the form of their kind, and to one name each, in words without the secret', async () => {
    const wrong: readonly (readonly [object | object[], RegExp])[] = [
      [{ name: 'a', kind: 'slack' }, /webhookUrl is missing/],
      [{ name: 'a', kind: 'slack', url: hook }, /url/],
      [{ name: 'a', kind: 'slack', webhookUrl: 'http://example.org/secret' }, /webhookUrl: an https/],
      [{ name: 'a', kind: 'slack', webhookUrlFile: '/run/clear' }, /webhookUrl: an https/],
      [{ name: 'a', kind: 'slack', webhookUrlFile: '/run/none' }, /\/run\/none, which cannot be read/],
      [{ name: 'a', kind: 'slack', webhookUrl: hook, webhookUrlFile: '/run/hook' }, /both set/],
      [{ name: 'a', kind: 'webhook', url: hook }, /secret is missing/],
      [{ name: 'a', kind: 'email', host: 'mail.example.org', from: 'a@example.org' }, /to is missing/],
      [
        [
          { name: 'a', kind: 'slack', webhookUrl: hook },
          { name: 'a', kind: 'discord', webhookUrl: hook },
        ],
        /another channel has the name a/,
      ],
    ];
    for (const [value, message] of wrong) {
      const channels = Array.isArray(value) ? value : [value];
      await assert.rejects(openChannels(settingsWith({ channels }), read), (thrown) => {
        assert.ok(thrown instanceof AppError && thrown.code === 'validation.config', String(thrown));
        assert.match(thrown.message, message);
        assert.ok(!/services.secret|example.org.secret/.test(thrown.message), thrown.message);
        return true;
      });
    }
    const taken = { slack: { webhookUrl: hook }, channels: [{ name: 'slack', kind: 'slack', webhookUrl: hook }] };
    await assert.rejects(openChannels(settingsWith(taken), read));
  });

  test('have names that are fit for metrics and commands', () => {
    for (const name of ['', 'A', '1a', 'a b', 'a/b', 'a'.repeat(33)]) {
      const channels = [{ name, kind: 'slack', webhookUrl: hook }];
      assert.ok(!alertSettings.safeParse({ ...kinds, channels }).success, name);
    }
  });

  test('come from the environment as JSON, and are shown without their secrets', () => {
    const env = {
      SIGILWATCH_ALERTS_SLACK_ESCALATE_AFTER_MS: '60000',
      SIGILWATCH_ALERTS_CHANNELS: JSON.stringify([{ name: 'team-a', kind: 'slack', webhookUrl: hook, level: 'error' }]),
    };
    const { values, effective } = loadSettings({ schema: collectorSettings, env });
    assert.deepEqual([values.alerts.slack.escalateAfterMs, values.alerts.channels[0]?.webhookUrl], [60_000, hook]);
    const printed = formatSettings(effective);
    assert.ok(!printed.includes('services/secret'));
    assert.match(printed, /channels: \[\{"name":"team-a","kind":"slack","level":"error","webhookUrl":"\*+"\}\]/);
  });

  test('a wrong one from the environment is refused without its secret', () => {
    for (const extra of [{ webhookURL: hook }, { level: 'loud', webhookUrl: hook }]) {
      const env = { SIGILWATCH_ALERTS_CHANNELS: JSON.stringify([{ name: 'team-a', kind: 'slack', ...extra }]) };
      assert.throws(
        () => loadSettings({ schema: collectorSettings, env }),
        (thrown) => thrown instanceof AppError && !thrown.message.includes('services/secret'),
      );
    }
  });
});
