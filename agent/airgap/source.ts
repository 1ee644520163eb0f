import { z } from 'zod';
import type { CarriedEntry } from '../../common/bundle/lines.ts';
import { wantedImage } from '../../common/bundle/manifest.ts';
import { count, hex64 } from '../../common/fields.ts';
import { holding } from '../../common/protocol.ts';

const chainHead = z.strictObject({ seq: count, hash: hex64 });

/** Where an outbox stands, as far as a bundle has to say it. */
export const outboxLook = z.strictObject({
  head: chainHead,
  acked: chainHead,
  /** False while it does not know where its chain stands in the ledger: then nothing of it may be handed out. */
  anchored: z.boolean(),
  checkpoint: z.string().nullable(),
  holding: holding.nullable(),
  /** That are wanted here and that the engine does not have. */
  images: z.array(wantedImage),
});
export type OutboxLook = Readonly<z.infer<typeof outboxLook>>;

/** An entry with its number. */
export interface NumberedEntry extends CarriedEntry {
  readonly seq: number;
}

/**
 * The outbox that is exported: of the agent that runs here, or of one that does not, which is then kept from starting. Reads only; all
 * calls may be made again.
 */
export interface ExportSource {
  look(): Promise<OutboxLook>;
  /** Entries after this number, a bounded portion in order; none when there are no more. */
  read(afterSeq: number): Promise<readonly NumberedEntry[]>;
  close(): Promise<void>;
}
