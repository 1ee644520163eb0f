import { z } from 'zod';

/** What the bench and the processes of its agents say to each other: JSON, one line each. */

const atNode = z.object({ node: z.string(), publicKey: z.base64() });

/** What agents are told to do, one thing at a time. */
export const fleetCommand = z.discriminatedUnion('do', [
  /** Connect, all at once, and say who they are and what runs. */
  z.object({ do: z.literal('connect'), url: z.url(), origin: z.string(), vkey: z.string() }),
  /** Say so many reports each, one in `everyMs`, spread over that time. */
  z.object({ do: z.literal('report'), reports: z.int(), everyMs: z.number() }),
  /** End all connections and make so many reports each, which wait. */
  z.object({ do: z.literal('cut'), reports: z.int() }),
  /** Connect again, all at once, and send what waits. */
  z.object({ do: z.literal('rejoin') }),
]);

export type FleetCommand = z.infer<typeof fleetCommand>;

/** Said once, before anything is asked for: who is there. */
export const fleetKeys = z.object({ did: z.literal('keys'), nodes: z.array(atNode) });

/** What became of a command. Where something is sent it comes once the last entry is proved and dropped by its node. */
export const fleetDone = z.object({
  did: z.enum(['connect', 'report', 'cut', 'rejoin']),
  /** For each frame of entries since the last answer: from the outbox until its proof was checked, milliseconds. */
  ackMs: z.array(z.number()),
  /** From the command on until each node was welcomed, milliseconds; of commands that connect. */
  welcomeMs: z.array(z.number()),
  /** Connections that failed or ended since the last answer, by error code. */
  failures: z.record(z.string(), z.int()),
  /** Cosignatures given since the start. */
  cosignatures: z.int(),
  /** Ends of the author chains: what the ledger has to hold, no more and no less. */
  heads: z.array(z.object({ node: z.string(), seq: z.int(), hash: z.string() })),
});

export type FleetDone = z.infer<typeof fleetDone>;

/** Containers on each node. */
export const containersPerNode = 10;
/** Entries that a node says before its first report: that it has started, and what runs. */
export const firstEntries = 2;
export const minuteMs = 60_000;
