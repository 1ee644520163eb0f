import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { Writable } from 'node:stream';
import { describe, test } from 'node:test';
import { runCli } from '../../../collector/cli.ts';
import { collectorCli } from '../../collector-cli.ts';
import { answering, failing, startOddServer } from '../../fakes/odd-server.ts';

/** A command that is to ask a server which answers so. */
async function against(answer: RequestListener, argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const server = await startOddServer(answer);
  try {
    const said = await collectorCli([...argv, '--server', server.url], { SIGILWATCH_TOKEN: 'swk_x', ...env });
    return { ...said, asked: server.asked };
  } finally {
    await server.close();
  }
}

const escapeCharacter = '\u001b';

const node = (name: string) => ({
  ...{ node: name, fingerprint: 'SHA256:x', state: 'active', enrolled_at: '2026-01-01T00:00:00.000Z' },
  ...{ enrolled_index: 1, revoked_at: null, agent_version: null, hostname: null, started_at: null, last_index: null },
  ...{ last_entry_at: null, report_index: null, report_minute: null, coverage: null, containers: null },
  ...{ unobserved: null, open_drifts: null, stores: null, commit: null, collector: null },
});

/** Three pages of two nodes each. */
const pages: RequestListener = ({ url = '' }, response) => {
  const at = Number(new URL(url, 'http://x').searchParams.get('cursor') ?? 0);
  const items = [node(`n${2 * at}`), node(`n${2 * at + 1}`)];
  response.end(JSON.stringify({ items, next_cursor: at === 2 ? null : String(at + 1) }));
};

describe('the exit code says what became of a command', () => {
  const table: readonly (readonly [what: string, answer: RequestListener, code: number, error: string])[] = [
    ['nobody is signed in', failing(401, 'auth.required'), 3, 'auth.required'],
    ['a token is wrong', failing(401, 'auth.token'), 3, 'auth.token'],
    ['it is forbidden', failing(403, 'auth.forbidden'), 4, 'auth.forbidden'],
    ['there is none', failing(404, 'resource.not_found'), 2, 'resource.not_found'],
    ['the request is wrong', failing(400, 'validation.request'), 2, 'validation.request'],
    ['the body is wrong', failing(422, 'validation.body'), 2, 'validation.body'],
    ['the state forbids it', failing(409, 'state.conflict'), 4, 'state.conflict'],
    ['it is asked too often', failing(429, 'rate_limit.exceeded'), 4, 'rate_limit.exceeded'],
    ['a later collector fails in its own way', failing(418, 'tea.pot'), 4, 'collector.refused'],
    ['it is busy', failing(503, 'state.busy'), 5, 'state.busy'],
    ['its database is away', failing(503, 'database.unreachable'), 5, 'database.unreachable'],
    ['a proxy has nobody behind it', answering(502, '<h1>Bad Gateway</h1>'), 5, 'collector.unreachable'],
    ['it is a page', answering(200, '<!doctype html>', { 'Content-Type': 'text/html' }), 4, 'collector.refused'],
    ['it is a page that is not there', answering(404, '<h1>Not Found</h1>'), 4, 'collector.refused'],
    ['it is other JSON', answering(200, '{"items":[{"node":7}],"next_cursor":null}'), 4, 'collector.refused'],
    ['it is a list', answering(200, '[]'), 4, 'collector.refused'],
    ['nothing is said', answering(200, ''), 4, 'collector.refused'],
    ['it leads elsewhere', answering(302, '', { Location: '/elsewhere' }), 4, 'collector.refused'],
    ['it hangs up', ({ socket }) => socket.destroy(), 5, 'collector.unreachable'],
    [
      'it hangs up in the middle',
      ({ socket }, response) => {
        response.writeHead(200, { 'Content-Length': 100 }).write('{"items":[', () => socket.end());
      },
      5,
      'collector.unreachable',
    ],
    [
      'it is cut off in the middle',
      ({ socket }, response) => {
        response.write('{"items":[', () => socket.resetAndDestroy());
      },
      5,
      'collector.unreachable',
    ],
    ['it is no HTTP', ({ socket }) => socket.end('220 mail ready\r\n'), 5, 'collector.unreachable'],
  ];
  for (const [what, answer, code, error] of table) {
    test(`${code} where ${what}`, async () => {
      const said = await against(answer, ['nodes', 'list', '--json']);
      assert.deepEqual([said.code, said.stdout, JSON.parse(said.stderr).error_code], [code, '', error], said.stderr);
    });
  }

  test('0 where it is done', async () => {
    assert.equal((await against(pages, ['nodes', 'list'])).code, 0);
  });

  test('1 where what is told may be wrong', async () => {
    const body = JSON.stringify({ items: [], next_cursor: null });
    const answer = answering(200, body, { 'Sigilwatch-Contradicted': encodeURIComponent('it ends\nat 3') });
    const { code, stdout, stderr } = await against(answer, ['nodes', 'list', '--json']);
    assert.deepEqual([code, JSON.parse(stdout).contradicted.reason], [1, 'it ends\nat 3']);
    assert.match(stderr, /^CONTRADICTED: .*it ends.at 3\n$/);
  });

  test('3 without a token, and nobody is asked', async () => {
    const { code, stderr, asked } = await against(pages, ['nodes', 'list'], { SIGILWATCH_TOKEN: '' });
    assert.deepEqual([code, asked], [3, []]);
    assert.match(stderr, /^auth\.required: not signed in to http/);
  });

  test('5 where nobody listens, 2 for what is no address', async () => {
    const server = await startOddServer(pages);
    await server.close();
    const env = { SIGILWATCH_TOKEN: 'swk_x' };
    assert.equal((await collectorCli(['nodes', 'list', '--server', server.url], env)).code, 5);
    assert.equal((await collectorCli(['nodes', 'list', '--server', 'ftp://x'], env)).code, 2);
  });
});

describe('a list', () => {
  test('has one page, and says so when there are more', async () => {
    const { code, stdout, stderr, asked } = await against(pages, ['nodes', 'list', '--limit', '2']);
    assert.deepEqual([code, stdout.split('\n').length, asked.length], [0, 3, 1]);
    assert.match(stderr, /^there are more; .*--all all of them\n$/);
  });

  test('has all of them with --all, for people and for programs', async () => {
    const plain = await against(pages, ['nodes', 'list', '--all']);
    assert.deepEqual(
      [plain.stderr, plain.stdout.split('\n').map((line) => line.split('\t')[0])],
      ['', ['n0', 'n1', 'n2', 'n3', 'n4', 'n5', '']],
    );
    const { stdout } = await against(pages, ['nodes', 'list', '--all', '--json']);
    const { items, more } = JSON.parse(stdout);
    assert.deepEqual([items.length, items[5], more], [6, node('n5'), false]);
    assert.equal((await against(pages, ['nodes', 'list', '--all', '--limit', '3'])).code, 2);
  });

  test('that fails after some pages shows them, ends in the middle, and is no success', async () => {
    let asked = 0;
    const broken: RequestListener = (request, response) => {
      asked += 1;
      if (asked % 2 === 0) failing(503, 'state.busy')(request, response);
      else pages(request, response);
    };
    const json = await against(broken, ['nodes', 'list', '--all', '--json']);
    assert.equal(json.code, 5);
    assert.throws(() => JSON.parse(json.stdout));
    const plain = await against(broken, ['nodes', 'list', '--all']);
    assert.deepEqual([plain.code, plain.stdout.split('\n').length], [5, 3]);
  });
});

describe('on a terminal', () => {
  class Terminal extends Writable {
    readonly isTTY = true;
    text = '';

    override _write(chunk: Buffer, _encoding: string, done: () => void): void {
      this.text += chunk;
      done();
    }
  }

  async function onTerminal(env: Readonly<Record<string, string>>): Promise<string> {
    const server = await startOddServer(pages);
    const [stdout, stderr] = [new Terminal(), new Terminal()];
    const signedIn = { SIGILWATCH_SERVER: server.url, SIGILWATCH_TOKEN: 'swk_x', ...env };
    const world = { stdout, stderr, env: signedIn, readFile: () => '', stopRequested: new Promise<string>(() => {}) };
    assert.equal(await runCli({ argv: ['nodes', 'list', '--all'], ...world }), 0);
    await server.close();
    return stdout.text;
  }

  test('a table has one heading, in bold', async () => {
    const lines = (await onTerminal({ TERM: 'xterm' })).split('\n');
    const heading = lines[0] ?? '';
    assert.ok(
      heading.startsWith(`${escapeCharacter}[1mNODE`) && heading.endsWith(`AGENT${escapeCharacter}[22m`),
      heading,
    );
    assert.equal(lines.length, 8);
    for (const line of lines.slice(1)) assert.ok(!line.includes(escapeCharacter));
  });

  test('there is nothing but text where NO_COLOR is set or the terminal can do no more', async () => {
    for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }]) assert.match(await onTerminal(env), /^NODE +STATE/);
    assert.ok((await onTerminal({ NO_COLOR: '' })).startsWith(escapeCharacter), 'set to nothing is not set');
  });
});
