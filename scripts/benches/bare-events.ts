/**
 * The peer of `bench detect`: a process that does nothing but read the events of the engine at the socket that its first
 * argument names. For each line it notes the time before it looks at it, and says action, container and both times.
 */
import { request } from 'node:http';
import { createInterface } from 'node:readline';

const filters = encodeURIComponent(JSON.stringify({ type: ['container'], event: ['create', 'start'] }));

request({ socketPath: process.argv[2], path: `/events?filters=${filters}` }, (response) => {
  process.stdout.write('{"ready":true}\n');
  createInterface({ input: response }).on('line', (line) => {
    const arrivedMs = performance.timeOrigin + performance.now();
    const { Action: action, Actor: actor, timeNano } = JSON.parse(line);
    process.stdout.write(`${JSON.stringify({ action, id: actor.ID, happenedMs: timeNano / 1e6, arrivedMs })}\n`);
  });
}).end();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0));
