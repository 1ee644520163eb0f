import { join } from 'node:path';
import { systemClock } from '../../agent/clock.ts';
import { loadIdentity } from '../../agent/identity.ts';
import { openOutbox } from '../../agent/outbox/outbox.ts';
import { rfc3339 } from '../../common/clock.ts';
import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';

const perWrite = 100;
const digest = '0'.repeat(64);

/** Writes minute reports into the outbox of an agent that is stopped, as if it had been cut off for so many minutes. */
export async function fillOutbox(dataDir: string, entries: number): Promise<void> {
  const { node, keys } = await loadIdentity(dataDir);
  const outbox = await openOutbox({
    dir: join(dataDir, 'outbox'),
    author: node,
    privateKey: keys.privateKey,
    clock: systemClock,
    maxBytes: limits.outboxMaxBytes,
    reservedShare: limits.outboxReservedShare,
  });
  const startMs = systemClock.now() - entries * limits.scanIntervalMs;
  for (let made = 0; made < entries; made += perWrite) {
    const minutes = Array.from({ length: perWrite }, (_, i) => startMs + (made + i) * limits.scanIntervalMs);
    await outbox.append(minutes.map(report));
  }
  await outbox.close();
}

function report(minuteMs: number): Statement {
  return {
    kind: 'report',
    body: {
      minute: rfc3339(minuteMs),
      coverage: 'observed',
      scanMs: 20,
      containers: { count: 50, unobserved: 0, digest },
      drifts: { open: 0, digest },
      stores: [
        { store: 'sigils', status: 'ok', findingsDigest: digest, openFindings: 0, checkedRecords: 600, error: null },
      ],
      commit: digest.slice(0, 40),
    },
  };
}
