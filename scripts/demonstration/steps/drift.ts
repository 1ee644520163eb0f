import { images } from '../fleet.ts';
import { found, observe } from '../observe.ts';
import type { Step } from './step.ts';

/** A container that no manifest wants is told with its kind, its name and its image. */
export const drift: Step = {
  name: 'drift',
  title: 'A container that nobody authorized',
  run: async ({ api, member }, screen) => {
    const node = 'node1';
    const name = `${node}-stranger`;
    const since = performance.now();
    screen.cause(`container ${name} is started on ${node}, from image ${images.stranger}`);
    const id = await member(node).engine.run(name, images.stranger);
    const runningAfterMs = Math.round(performance.now() - since);
    const seeing = observe({
      expected: `an open UNAUTHORIZED_CONTAINER drift of ${name} with image ${images.stranger} on ${node}`,
      since,
      look: async () => {
        const drifts = await api.openDrifts(node);
        const told = drifts.find(({ kind, container }) => kind === 'UNAUTHORIZED_CONTAINER' && container === name);
        const image = told?.differences.find(({ field }) => field === 'image')?.observed;
        return found(image === images.stranger ? told : undefined, drifts);
      },
    });
    const { value, afterMs } = await screen.during('waiting for the drift', seeing);
    screen.seen(value.kind, afterMs, `${value.container}, image ${images.stranger}, entry ${value.opened_index}`);
    screen.detail(`the engine itself took ${runningAfterMs} ms to create and start it`);
    return {
      seen_after_ms: afterMs,
      engine_ms: runningAfterMs,
      node,
      kind: value.kind,
      container: value.container,
      container_id: id,
      image: images.stranger,
      index: value.opened_index,
    };
  },
};
