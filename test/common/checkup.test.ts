import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { countSigners } from '../../common/allowed-signers.ts';
import { certificateAge } from '../../common/certificate-age.ts';
import { checkAll, checksExitCode, formatChecks, NotChecked, type Plan, Wrong } from '../../common/checkup.ts';
import { AppError } from '../../common/errors.ts';
import { versionSkew } from '../../common/version-skew.ts';

const plan = (name: string, look: Plan['look']): Plan => ({ name, fix: 'the usual', look });
const fails = (thrown: Error) => () => Promise.reject(thrown);

describe('checks', () => {
  test('each says in its own state what became of it, in the order of the plans', async () => {
    const checks = await checkAll('machine', [
      plan('good', async () => 'fine'),
      plan('bad', fails(new AppError('outbox.full', 'too full'))),
      plan('worse', fails(new Wrong('open to others', 'chmod 600 KEY'))),
      plan('skipped', fails(new NotChecked('nobody answers', 'see bad'))),
      plan('not asked for', fails(new NotChecked('it is not set'))),
    ]);
    assert.deepEqual(
      checks.map(({ state, detail, fix }) => [state, detail, fix]),
      [
        ['ok', 'fine', null],
        ['wrong', 'too full', 'the usual'],
        ['wrong', 'open to others', 'chmod 600 KEY'],
        ['not_checked', 'nobody answers', 'see bad'],
        ['not_checked', 'it is not set', null],
      ],
    );
    assert.equal(checksExitCode(checks), 1);
    assert.equal(
      formatChecks(checks),
      [
        'machine',
        '  ✓ good           fine',
        '  ✗ bad            too full',
        '                   fix: the usual',
        '  ✗ worse          open to others',
        '                   fix: chmod 600 KEY',
        '  - skipped        not checked: nobody answers (see bad)',
        '  - not asked for  not checked: it is not set',
        '',
        '1 check in order, 2 wrong, 2 not checked',
        '',
      ].join('\n'),
    );
  });

  test('what was not checked is of itself no finding', async () => {
    const checks = await checkAll('machine', [plan('a', fails(new NotChecked('it is not set')))]);
    assert.equal(checksExitCode(checks), 0);
  });

  test('foreign text in them cannot move the cursor, nor begin a line', async () => {
    const checks = await checkAll('machine', [plan('a', async () => 'x\u001b[2J\r✗ b')]);
    const text = formatChecks(checks);
    assert.ok(!text.includes('\u001b') && !text.includes('\r'));
  });
});

test('versions: a patch is nothing, an agent may be one minor version behind, and never ahead', () => {
  const cases = [
    ['1.4.0', '1.4.0', 'same'],
    ['1.4.0', '1.4.9', 'close'],
    ['1.4.9', '1.4.0', 'close'],
    ['1.3.7', '1.4.0', 'close'],
    ['1.2.0', '1.4.0', 'agent_older'],
    ['0.9.0', '1.0.0', 'agent_older'],
    ['1.5.0', '1.4.0', 'agent_newer'],
    ['2.0.0', '1.9.0', 'agent_newer'],
    ['1.4.0-rc.1', '1.4.0', 'close'],
    ['one', '1.4.0', 'unknown'],
  ] as const;
  for (const [agent, collector, skew] of cases)
    assert.equal(versionSkew(agent, collector), skew, `${agent} ${collector}`);
});

test('a certificate is wrong when it has ended, and while it is about to', () => {
  const at = (text: string) => Date.parse(text);
  const left = (now: string) => certificateAge(at('2026-03-01T00:00:00Z'), at(now), 'renew it');
  assert.equal(left('2026-01-01T12:00:00Z'), '58 days left, until 2026-03-01');
  assert.throws(() => left('2026-02-20T00:00:00Z'), { message: '9 days left, until 2026-03-01', fix: 'renew it' });
  assert.throws(() => left('2026-03-01T00:00:00Z'), { message: 'it ended on 2026-03-01' });
});

describe('a signers file', () => {
  const key = `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${'A'.repeat(43)}`;

  test('is counted by its keys, with options and comments', () => {
    const text = `# who\n\nanna@example.org ${key}\nben,carl namespaces="git",valid-after="20260101" ${key} a comment\n`;
    assert.equal(countSigners(text), 2);
  });

  test('is refused with the line that is none, and when it names nobody', () => {
    assert.throws(() => countSigners(`anna ${key}\n${key}\n`), { code: 'validation.config', message: /^line 2 / });
    assert.throws(() => countSigners('# nobody\n'), { message: /names nobody/ });
  });
});
