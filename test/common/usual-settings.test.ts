import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { z } from 'zod';
import { settingsOf } from '../../common/settings/command-line.ts';

const schema = z.object({ dataDir: z.string().default('/default') });

function readFrom(files: Readonly<Record<string, string>>, errno = 'ENOENT') {
  return (path: string): string => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error(errno), { code: errno });
    return text;
  };
}

const usual = { SIGILWATCH_USUAL_CONFIG: '/etc/sigilwatch/agent.yaml' };
const files = { '/etc/sigilwatch/agent.yaml': 'dataDir: /usual\n', '/other.yaml': 'dataDir: /other\n' };
const dataDirOf = (env: Readonly<Record<string, string>>, config?: string, read = readFrom(files)) =>
  settingsOf(schema, { env, readFile: read, config }).values.dataDir;

describe('the settings of an installed package', () => {
  test('count where no others are named', () => {
    assert.equal(dataDirOf(usual), '/usual');
    assert.equal(dataDirOf({}), '/default');
  });

  test('do not count beside a file that was named', () => {
    assert.equal(dataDirOf(usual, '/other.yaml'), '/other');
    assert.equal(dataDirOf({ ...usual, SIGILWATCH_CONFIG: '/other.yaml' }), '/other');
  });

  test('are passed over where they are missing or closed, since nobody asked for them', () => {
    assert.equal(dataDirOf(usual, undefined, readFrom({})), '/default');
    assert.equal(dataDirOf(usual, undefined, readFrom({}, 'EACCES')), '/default');
    assert.throws(() => dataDirOf(usual, undefined, readFrom({}, 'EIO')), /agent\.yaml cannot be read \(EIO\)/);
    assert.throws(() => dataDirOf(usual, '/missing.yaml'), /\/missing\.yaml does not exist/);
  });
});
