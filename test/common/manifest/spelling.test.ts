import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { splitWords } from '../../../common/manifest/shell-words.ts';
import {
  asWanted,
  cleanPath,
  maxPortsPerRange,
  parseMount,
  type Spelled,
  sortedOnce,
  spellCapability,
  spellCpus,
  spellDurationMs,
  spellHostIp,
  spellMemory,
  spellMount,
  spellNetworkMode,
  spellPort,
  spellRestart,
} from '../../../common/manifest/spelling.ts';

type Cases<In, Out> = readonly (readonly [written: In, spelled: Out | RegExp])[];

/** A regular expression stands for a refusal whose reason it fits. */
function spells<In, Out>(spell: (written: In) => Spelled<Out>, cases: Cases<In, Out>): void {
  for (const [written, expected] of cases) {
    test(JSON.stringify(written), () => {
      const result = spell(written);
      if (expected instanceof RegExp) assert.match(result.ok ? `spelled ${result.value}` : result.reason, expected);
      else assert.deepEqual(result, { ok: true, value: expected });
    });
  }
}

const mountText = (text: string): Spelled<string> => {
  const mount = parseMount(text);
  return mount.ok ? { ok: true, value: spellMount(mount.value) } : mount;
};

describe('a published port has one spelling', () => {
  spells(spellPort, [
    ['80', ['->80/tcp']],
    ['8080:80', ['8080->80/tcp']],
    ['8080:80/UDP', ['8080->80/udp']],
    ['127.0.0.1:8080:80/udp', ['127.0.0.1:8080->80/udp']],
    ['127.0.0.1::80', ['127.0.0.1:->80/tcp']],
    ['[::1]:8080:80', ['[::1]:8080->80/tcp']],
    ['[0:0:0:0:0:0:0:1]:8080:80', ['[::1]:8080->80/tcp']],
    ['0.0.0.0:8080:80', ['8080->80/tcp']],
    ['[::]:8080:80', ['8080->80/tcp']],
    ['[FE80::A]::80', ['[fe80::a]:->80/tcp']],
    ['8000-8002:80-82', ['8000->80/tcp', '8001->81/tcp', '8002->82/tcp']],
    ['3000-3001/sctp', ['->3000/sctp', '->3001/sctp']],
    ['8000-8010:80', ['8000-8010->80/tcp']],
    ['0:80', ['->80/tcp']],
    [':80', ['->80/tcp']],
    ['8000-8001:80-82', /as many host ports/],
    ['82-80', /port of the container/],
    ['0', /port of the container from 1/],
    ['65536', /to 65535/],
    ['70000:80', /port of the host/],
    ['80/quic', /tcp, udp or sctp/],
    ['1.2.3.256:80:80', /IPv4/],
    ['1.2.3.04:80:80', /IPv4/],
    ['[::g]:80:80', /IPv6/],
    ['::1:80:80', /a port as/],
    ['web:80', /port of the host/],
    ['', /a port as/],
    [`1-${maxPortsPerRange + 1}`, /at most/],
  ]);

  test('whatever IPv6 address is taken, its spelling is taken again and stays', () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const once = spellHostIp(address);
        assert.ok(once.ok, address);
        // All addresses are none in particular.
        if (once.value !== '') assert.deepEqual(spellHostIp(once.value), once);
      }),
    );
  });

  test('and what is written with all its parts is spelled with all its parts', () => {
    const port = fc.integer({ min: 1, max: 65_535 });
    fc.assert(
      fc.property(fc.ipV4(), port, port, fc.constantFrom('tcp', 'udp', 'sctp'), (ip, host, container, protocol) => {
        const expected = `${ip}:${host}->${container}/${protocol}`;
        assert.deepEqual(spellPort(`${ip}:${host}:${container}/${protocol}`), { ok: true, value: [expected] });
      }),
    );
  });
});

describe('a mount has one spelling', () => {
  spells(mountText, [
    ['/data', ':/data:rw'],
    ['data:/data', 'data:/data:rw'],
    ['data:/data:ro', 'data:/data:ro'],
    ['/srv//data/:/data/../data/', '/srv/data:/data:rw'],
    ['/srv:/data:Z', '/srv:/data:rw'],
    ['/srv:/data:z,ro', '/srv:/data:ro'],
    ['/srv:/data:ro,rshared,nocopy', '/srv:/data:ro'],
    ['./x/:/x', './x:/x:rw'],
    ['../x/./y:/x', '../x/y:/x:rw'],
    ['.:/x', '.:/x:rw'],
    ['~/x/:/x', '~/x:/x:rw'],
    ['/srv:/data:readonly', /"readonly" is no mode/],
    ['x/y:/x', /volume's name, or a path/],
    ['data:data', /from the root of the container/],
    ['data', /from the root of the container/],
    ['a:/b:ro:c', /a mount as/],
    [':/b', /a mount as/],
    ['', /a mount as/],
  ]);

  test('that is spelled the same again', () => {
    const step = fc.constantFrom('a', 'b.c', '..', '.', '', 'd-e');
    const path = fc.array(step, { minLength: 1, maxLength: 6 }).map((steps) => steps.join('/'));
    const source = fc.oneof(
      fc.constant('volume'),
      ...['/', './', '../', '~/'].map((start) => path.map((rest) => start + rest)),
    );
    fc.assert(
      fc.property(source, path, fc.constantFrom('', ':ro', ':rw', ':z'), (from, to, mode) => {
        const once = mountText(`${from}:/${to}${mode}`);
        assert.ok(once.ok);
        assert.deepEqual(mountText(once.value), once);
      }),
    );
  });

  test('whose paths mean what they meant', () => {
    for (const [path, clean] of [
      ['/', '/'],
      ['/..', '/'],
      ['/a/./b//c/..', '/a/b'],
      ['a/../..', '..'],
      ['', '.'],
      ['./a/..', '.'],
      ['~', '~'],
      ['~/', '~'],
    ] as const) {
      assert.equal(cleanPath(path), clean);
    }
  });

  test('and a relative source is taken for any path on the same target in the same mode, for nothing else', () => {
    const wanted = ['./conf:/etc/app:ro', 'data:/data:rw'];
    assert.deepEqual(asWanted(wanted, ['/home/a/conf:/etc/app:ro', 'data:/data:rw']), wanted);
    for (const other of ['/home/a/conf:/etc/app:rw', '/home/a/conf:/etc:ro', 'conf:/etc/app:ro', ':/etc/app:ro']) {
      assert.deepEqual(asWanted(wanted, [other]), [other]);
    }
    assert.deepEqual(asWanted(['data:/data:rw'], ['/x:/y:rw']), ['/x:/y:rw']);
  });
});

describe('an amount of memory is bytes', () => {
  spells(spellMemory, [
    ['512m', 536_870_912],
    ['512M', 536_870_912],
    ['512mb', 536_870_912],
    ['64 MiB', 67_108_864],
    ['1g', 1_073_741_824],
    ['1.5gb', 1_610_612_736],
    ['1k', 1024],
    ['2KB', 2048],
    ['7b', 7],
    ['1048576', 1_048_576],
    [1_048_576, 1_048_576],
    [0, 0],
    ['half', /an amount of memory/],
    ['-1', /an amount of memory/],
    [-1, /an amount of memory/],
    ['1e9', /an amount of memory/],
    ['m', /an amount of memory/],
    ['9007199254740993', /an amount of memory/],
  ]);
});

describe('processors are thousandths', () => {
  spells(spellCpus, [
    [1.5, 1500],
    ['0.25', 250],
    ['.5', 500],
    ['2', 2000],
    ['1.5000', 1500],
    [0.1, 100],
    [0, 0],
    ['0.0001', /steps of a thousandth/],
    ['-1', /a number of processors/],
    ['', /a number of processors/],
    ['.', /a number of processors/],
    ['10001', /from 0 to 10000/],
    [Number.NaN, /a number of processors/],
  ]);
});

describe('a capability has one spelling', () => {
  spells(spellCapability, [
    ['NET_ADMIN', 'NET_ADMIN'],
    ['cap_net_admin', 'NET_ADMIN'],
    ['all', 'ALL'],
    ['net-admin', /a capability/],
    ['', /a capability/],
  ]);
});

describe('a restart policy has one spelling', () => {
  spells(spellRestart, [
    ['no', 'no'],
    [false, 'no'],
    ['always', 'always'],
    ['unless-stopped', 'unless-stopped'],
    ['on-failure', 'on-failure'],
    ['on-failure:0', 'on-failure'],
    ['on-failure:05', 'on-failure:5'],
    ['always:3', /on-failure:<most retries>/],
    ['On-Failure', /unless-stopped/],
    ['', /unless-stopped/],
  ]);
});

describe('a network mode has one spelling', () => {
  spells(spellNetworkMode, [
    ['bridge', 'default'],
    ['default', 'default'],
    ['host', 'host'],
    ['none', 'none'],
    ['container:db', 'container:db'],
    ['shop_back', 'shop_back'],
    ['service:db', /service:NAME is not supported.*container:NAME/],
    ['container:', /bridge, host, none/],
    ['a b', /bridge, host, none/],
  ]);
});

describe('a duration is milliseconds', () => {
  spells(spellDurationMs, [
    ['1m30s', 90_000],
    ['1.5s', 1500],
    ['250ms', 250],
    ['2h', 7_200_000],
    ['1500us', 2],
    ['30', /a duration/],
    ['s', /a duration/],
    ['1m 30s', /a duration/],
    ['', /a duration/],
  ]);
});

describe('a command is split as a shell does, and nothing in it is expanded', () => {
  spells(splitWords, [
    ['npm run start', ['npm', 'run', 'start']],
    ['  a\t b\n', ['a', 'b']],
    [`sh -c "echo 'a b' $HOME"`, ['sh', '-c', "echo 'a b' $HOME"]],
    [`a'b c'"d e"f`, ['ab cd ef']],
    [`a\\ b "c\\"d" 'e\\f'`, ['a b', 'c"d', 'e\\f']],
    [`"" ''`, ['', '']],
    ['', []],
    [`echo "a && b" '$(c)'`, ['echo', 'a && b', '$(c)']],
    ['a && b', /no shell reads this.*\["sh", "-c"/],
    ['a > b', /quote ">"/],
    ['echo $(date)', /quote "\("/],
    ['echo `date`', /quote "`"/],
    [`'a`, /closing '/],
    ['"a', /closing "/],
    ['a\\', /last backslash/],
  ]);

  test('whatever the arguments, quoted they come back', () => {
    const quoted = (word: string) => `'${word.replaceAll("'", `'"'"'`)}'`;
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme' })), (words) => {
        assert.deepEqual(splitWords(words.map(quoted).join(' ')), { ok: true, value: words });
      }),
    );
  });
});

test('a list without an order is sorted, and each of its texts stands once', () => {
  fc.assert(
    fc.property(fc.array(fc.string()), fc.array(fc.nat()), (texts, order) => {
      const shuffled = [...texts, ...order.flatMap((i) => texts[i % texts.length] ?? [])].reverse();
      assert.deepEqual(sortedOnce(shuffled), sortedOnce(texts));
    }),
  );
});

test('whatever the text, it is spelled or refused with a reason', () => {
  const spellings = [spellPort, mountText, spellMemory, spellCpus, spellRestart, spellNetworkMode, spellDurationMs];
  const texts = fc.oneof(fc.string({ unit: 'grapheme' }), fc.stringMatching(/^[-:./0-9a-z[\]~]{0,30}$/));
  fc.assert(
    fc.property(texts, (text) => {
      for (const spell of spellings) {
        const result = spell(text);
        assert.ok(result.ok || result.reason.length > 0);
      }
    }),
  );
});
