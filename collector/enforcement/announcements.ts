import { type Announcement, announcementIn } from '../../common/enforcement/announcement.ts';
import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { VerifyAnnouncement } from './desk-ports.ts';
import type { StandingMeasures } from './ports.ts';

export interface AnnouncementsOptions {
  readonly verify: VerifyAnnouncement;
  readonly logger: Logger;
}

type Row = StandingMeasures['announcements'][number];

/** Announced changes as they may be relied on: read, not over, and signed by somebody who may. Each signature is checked once. */
export interface Announcements {
  /** Never rejects: what cannot be checked excuses nothing. */
  inForce(rows: readonly Row[], nowMs: number): Promise<readonly Announcement[]>;
}

export function createAnnouncements({ verify, logger }: AnnouncementsOptions): Announcements {
  /** By the index of the entry; undefined for what is no announcement, or signed by nobody who may. */
  const judged = new Map<number, Announcement | undefined>();

  async function judge({ index, body: { text, approval } }: Row, nowMs: number): Promise<Announcement | undefined> {
    if (judged.has(index)) return judged.get(index);
    try {
      const read = announcementIn(text);
      // Over: not worth a signature, nor a place.
      if (read !== undefined && Date.parse(read.until) <= nowMs) return undefined;
      const holds = read !== undefined && (await verify(text, approval));
      if (!holds) logger.warn('change.not_believed', { index, approver: approval.approver });
      remember(index, holds ? read : undefined);
      return judged.get(index);
    } catch (thrown) {
      const { code, message } = toAppError(thrown);
      logger.warn('change.not_verified', { index, code, message });
      return undefined;
    }
  }

  function remember(index: number, announcement: Announcement | undefined): void {
    judged.set(index, announcement);
    const [oldest] = judged.keys();
    if (oldest !== undefined && judged.size > limits.announcementsRemembered) judged.delete(oldest);
  }

  return {
    inForce: async (rows, nowMs) => {
      const all = await Promise.all(rows.map((row) => judge(row, nowMs)));
      return all.flatMap((one) => (one !== undefined && Date.parse(one.until) > nowMs ? [one] : []));
    },
  };
}
