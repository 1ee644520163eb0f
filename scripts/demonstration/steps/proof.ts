import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { jsonLine } from '../../../test/system.ts';
import type { Fleet } from '../fleet.ts';
import { demand } from '../observe.ts';
import type { Step } from './step.ts';

/** One entry is taken away as a file, and checked with nothing but that file and a policy: no collector, no network. */
export const proof: Step = {
  name: 'proof',
  title: 'One entry, proved to somebody who trusts nobody here',
  run: async ({ collector, api }, screen) => {
    const [order] = await api.orders('node1');
    const index = order?.index;
    demand('the order for node1 has an entry', index !== undefined, order);
    const folder = join(dirname(collector.dir), 'taken-away');
    mkdirSync(folder);
    const file = join(folder, 'order.tlog-proof');
    const policy = join(folder, 'policy.txt');
    const altered = join(folder, 'altered.tlog-proof');
    await made(collector, 'ledger', 'policy', '--output', policy);
    await made(collector, 'ledger', 'proof', `${index}`, '--output', file);
    screen.cause(`sigilwatch-collector verify order.tlog-proof --policy policy.txt`);
    const since = performance.now();
    const checked = await collector.cli('verify', file, '--policy', policy, '--json');
    const afterMs = Math.round(performance.now() - since);
    const { verified, checkpoint, entry } = verdict.parse(jsonLine(checked.stdout));
    const witnesses = checkpoint?.witnesses.length ?? 0;
    demand('the proof holds, with a quorum', verified && checkpoint?.quorum_reached === true, checked);
    demand('it is about that entry', entry?.index === index, entry);
    screen.seen('proved', afterMs, `entry ${index}, vouched for by ${witnesses} nodes`);
    alter(file, altered);
    const refused = await collector.cli('verify', altered, '--policy', policy);
    demand('with one byte changed it does not hold', refused.exitCode === 1, refused);
    screen.detail(`with one byte changed: ${refused.stdout.split('\n')[0]}`);
    return { seen_after_ms: afterMs, index, witnesses, size: checkpoint?.size };
  },
};

const verdict = z.object({
  verified: z.boolean(),
  checkpoint: z
    .object({ size: z.number(), quorum_reached: z.boolean(), witnesses: z.array(z.object({ name: z.string() })) })
    .nullable(),
  entry: z.object({ index: z.number() }).nullable(),
});

async function made(collector: Fleet['collector'], ...args: readonly string[]): Promise<void> {
  const result = await collector.cli(...args);
  demand(`${args.slice(0, 2).join(' ')} ends with 0`, result.exitCode === 0, result);
}

/** The byte in the middle, which is part of the entry or of its path. */
function alter(from: string, to: string): void {
  const bytes = readFileSync(from);
  const at = bytes.length >> 1;
  const letter = bytes.toString('latin1', at, at + 1) === 'A' ? 'B' : 'A';
  bytes.write(letter, at, 'latin1');
  writeFileSync(to, bytes);
}
