import { flipByte } from '../../../test/system.ts';
import { found, observe } from '../observe.ts';
import type { Step } from './step.ts';

/** A changed byte in a table file of a store in use is told with file, offset and the keys of its block. */
export const flippedByte: Step = {
  name: 'flipped_byte',
  title: 'One flipped byte in a sigil store that is in use',
  run: async ({ api, member }, screen) => {
    const node = 'node2';
    const since = performance.now();
    const flipped = flipByte(member(node).storeDir);
    screen.cause(
      `one bit of byte ${flipped.offset} of ${flipped.file} on ${node} is flipped, while its writer goes on`,
    );
    const seeing = observe({
      expected: `an open block_checksum finding on ${node} for ${flipped.file}, in the block that holds byte ${flipped.offset}`,
      since,
      look: async () => {
        const findings = await api.openFindings(node);
        const told = findings.find(({ check, finding: { file, offset } }) => {
          return check === 'block_checksum' && file === flipped.file && offset !== null && offset <= flipped.offset;
        });
        return found(told?.finding.key_range === null ? undefined : told, findings);
      },
    });
    const { value, afterMs } = await screen.during('waiting for the finding', seeing);
    const { file, offset, key_range, detail } = value.finding;
    screen.seen(value.check, afterMs, `${file} at offset ${offset}, entry ${value.opened_index}`);
    screen.detail(detail);
    screen.detail(`keys ${shortKey(key_range?.from)} to ${shortKey(key_range?.to)}`);
    const facts = { node, check: value.check, file, offset, key_range, flipped_offset: flipped.offset };
    return { seen_after_ms: afterMs, ...facts, index: value.opened_index };
  },
};

/** A sigil whose checksum is not that of its data is told by its key. */
export const wrongChecksum: Step = {
  name: 'wrong_checksum',
  title: 'A sigil with a wrong checksum',
  run: async ({ api, member }, screen) => {
    const node = 'node3';
    const since = performance.now();
    const key = await member(node).writer.writeWrongChecksum();
    screen.cause(`the writer on ${node} writes ${shortKey(key)}, whose checksum is not that of its data`);
    const seeing = observe({
      expected: `an open checksum finding on ${node} for the key ${key}`,
      since,
      look: async () => {
        const findings = await api.openFindings(node);
        const told = findings.find(({ check, finding }) => check === 'checksum' && finding.key === key);
        return found(told, findings);
      },
    });
    const { value, afterMs } = await screen.during('waiting for the finding', seeing);
    screen.seen(value.check, afterMs, `${shortKey(key)}, entry ${value.opened_index}`);
    const { written } = await member(node).writer.counts();
    screen.detail(`found among ${written} records written since the start, beside those that were there`);
    return { seen_after_ms: afterMs, node, check: value.check, key, index: value.opened_index };
  },
};

/** Keys end in 64 hex digits; the first few are enough for a person. */
function shortKey(key: string | undefined): string {
  return key === undefined ? '?' : key.replace(/([0-9a-f]{8})[0-9a-f]{56}$/, '$1…');
}
