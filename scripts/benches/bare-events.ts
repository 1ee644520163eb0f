/**
 * The peer of `bench detect` and `bench enforce`: a process that does nothing but read the events of the engine at the socket that
 * its first argument names. For each line it notes the time before it looks at it, and says action, container and both times. With
 * an image as its second argument it kills every container that starts from it, at once and without asking anybody.
 */
import { request } from 'node:http';
import { createInterface } from 'node:readline';

const [, , socketPath, forbidden] = process.argv;
const filters = encodeURIComponent(JSON.stringify({ type: ['container'], event: ['create', 'start', 'die'] }));

request({ socketPath, path: `/events?filters=${filters}` }, (response) => {
  process.stdout.write('{"ready":true}\n');
  createInterface({ input: response }).on('line', (line) => {
    const arrivedMs = performance.timeOrigin + performance.now();
    const { Action: action, Actor: actor, timeNano } = JSON.parse(line);
    if (action === 'start' && actor.Attributes.image === forbidden) kill(actor.ID);
    process.stdout.write(`${JSON.stringify({ action, id: actor.ID, happenedMs: timeNano / 1e6, arrivedMs })}\n`);
  });
}).end();
function kill(id: string): void {
  request({ socketPath, method: 'POST', path: `/containers/${id}/kill` }, (response) => response.resume()).end();
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0));
