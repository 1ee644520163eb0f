import fc from 'fast-check';

/*
 * Containers as people write them into manifests and compose files, in every form that is accepted and that an engine takes.
 */

/** Paths of the machine that may be mounted into a container that is never started. */
const hostPaths = ['/etc', '/usr', '/tmp'];
const capabilities = ['NET_ADMIN', 'CAP_SYS_TIME', 'chown', 'ALL', 'cap_net_bind_service'];

const word = fc.constantFrom('a', 'b c', '--flag=1', '"quoted"', "it's", '$HOME', 'ü', '');
const program = fc.oneof(
  fc.constantFrom('/bin/busybox sleep 9', '/bin/sh -c "echo \'a b\'"', 'x --y="1 2"'),
  fc.array(word, { maxLength: 3 }).map((rest) => ['/bin/busybox', ...rest]),
  fc.constant([]),
);
const text = fc.oneof(word, fc.constantFrom('a=b', 'line\nline', '😀', ' ', 'true', '0755'));
const variableName = fc.constantFrom('A', 'B_1', 'FROM_IMAGE', 'BOTH', 'PATH', 'constructor', 'with space');
const labelName = fc.constantFrom('tier', 'made', 'a.b/c', 'com.docker.compose.project', 'sigilwatch.x', 'toString');

/** As a map, or as the list of the same. */
function listOrMap(names: fc.Arbitrary<string>) {
  const pairs = fc.uniqueArray(fc.tuple(names, text), { selector: ([name]) => name, maxLength: 4 });
  return fc.oneof(
    pairs.map((all) => Object.fromEntries(all)),
    pairs.map((all) => all.map((pair) => pair.join('='))),
  );
}

const port = fc.oneof(
  fc.constantFrom(
    '80',
    9000,
    '8080:80',
    '127.0.0.1:8080:80/udp',
    '[::1]:8443:443',
    '8000-8002:80-82',
    '0.0.0.0:53:53/udp',
  ),
  fc.constantFrom('9000-9005:90', ':70', '127.0.0.1::71/sctp', '0:72'),
  fc.record({
    target: fc.constantFrom(1000, 1001),
    published: fc.constantFrom('2000', '2001'),
    protocol: fc.constant('udp'),
  }),
);

const mode = fc.constantFrom('', ':ro', ':rw', ':ro,z');
const source = fc.oneof(fc.constantFrom(...hostPaths), fc.constantFrom('data', 'more'));
const mount = (target: string) =>
  fc.oneof(
    fc.constant(target),
    fc.tuple(source, mode).map(([from, how]) => `${from}:${target}${how}`),
    // Engines refuse an anonymous volume that nobody could ever write to.
    fc.constant({ type: 'volume', target }),
    fc.boolean().map((read_only) => ({ type: 'volume', source: 'data', target, read_only })),
    fc.boolean().map((read_only) => ({ type: 'bind', source: '/etc', target, read_only })),
  );
const mounts = fc
  .subarray(['/data', '/cache', '/deep/er/', '/srv'])
  .chain((targets) => fc.tuple(...targets.map((target) => mount(target))));

const healthcheck = fc.oneof(
  fc.record(
    {
      test: fc.constantFrom<string | string[]>('true', ['CMD', '/bin/busybox', 'true'], ['NONE']),
      interval: fc.constantFrom('1s', '1m30s'),
      timeout: fc.constantFrom('500ms', '2s'),
      start_period: fc.constant('3s'),
      retries: fc.constantFrom(0, 3, '5'),
    },
    { requiredKeys: [] },
  ),
  fc.constant({ disable: true }),
);

const keys = {
  command: program,
  entrypoint: program,
  environment: listOrMap(variableName),
  labels: listOrMap(labelName),
  ports: fc.uniqueArray(port, { selector: (one) => JSON.stringify(one), maxLength: 4 }),
  volumes: mounts,
  user: fc.constantFrom<string | number>('1000:1000', 'nobody', 0, ''),
  cap_add: fc.subarray(capabilities),
  cap_drop: fc.subarray(capabilities),
  privileged: fc.constantFrom(true, false, 'no'),
  mem_limit: fc.constantFrom<string | number>('64m', '1gb', 134_217_728, 0),
  cpus: fc.constantFrom<string | number>(0.5, '0.25', 1, 0),
  healthcheck,
};

/** All of them are made with at least one kind of program, which an engine insists on. */
export interface SaidContainer {
  readonly said: Readonly<Record<string, unknown>>;
  readonly restart: string | undefined;
  /** `network_mode`, or networks. */
  readonly attached: Readonly<Record<string, unknown>>;
}

const attached = fc.oneof(
  fc.constantFrom('none', 'host', 'bridge', 'default').map((network_mode) => ({ network_mode })),
  fc.constant({}),
  fc.constantFrom<unknown>(['front'], { back: { aliases: ['w'] }, front: null }).map((networks) => ({ networks })),
);

export const saidContainer: fc.Arbitrary<SaidContainer> = fc.record({
  said: fc.record(keys, { requiredKeys: [] }),
  restart: fc.option(fc.constantFrom('no', 'always', 'unless-stopped', 'on-failure', 'on-failure:3'), {
    nil: undefined,
  }),
  attached,
});
