import { createHash, createHmac } from 'node:crypto';
import { join } from 'node:path';
import type { AcceptedChange } from '../../../../agent/sigils/inventory/accepted.ts';
import type { ScanResult } from '../../../../agent/sigils/scan.ts';
import { SigilScanner } from '../../../../agent/sigils/scanner.ts';
import type { SigilFinding } from '../../../../common/sigil.ts';
import { clock, secret } from '../stores.ts';

/** A valid record under a key of either form, `updatedAt` at that minute. */
export function sigilAt(
  { form, id }: { readonly form: 'new' | 'plain' | 'namespaced'; readonly id: string },
  minute: number,
): { readonly key: string; readonly value: Record<string, unknown> } {
  const data = { id, minute, pad: 'x'.repeat(50) };
  const text = JSON.stringify(data);
  const digests = {
    checksum: createHash('sha256').update(text).digest('hex'),
    signature: createHmac('sha256', secret).update(text).digest('hex'),
  };
  const updatedAt = timeAt(minute);
  if (form !== 'new') {
    const key = form === 'plain' ? `sigil:${id}` : `sigil:lyra:${id}`;
    return { key, value: { id, updatedAt, data, ...digests } };
  }
  const authHash = createHash('sha256').update(id).digest('hex');
  const fields = { id, tenantId: 'lyra', symbol: 'S', authHash, updatedAt };
  return { key: `lyra!sigil!S!${authHash}`, value: { ...fields, data, ...digests } };
}

export function timeAt(minute: number): string {
  return new Date(Date.UTC(2026, 0, 1) + minute * 60_000).toISOString();
}

export interface NightOptions {
  readonly keeps?: boolean;
  /** Whether the new inventory takes the place of the one before. */
  readonly told?: boolean;
  readonly accepted?: readonly AcceptedChange[];
  readonly threads?: number;
  readonly threadFile?: URL;
}

/** The full scans of a store as an agent makes them: with an inventory, and the findings that are open. */
export class Nights {
  readonly inventory: string;
  open: SigilFinding[] = [];
  private readonly path: string;

  constructor(path: string, folder: string) {
    this.path = path;
    this.inventory = join(folder, 'inventory', 'main.inventory');
  }

  async scan({ keeps = true, told = true, accepted = [], ...threads }: NightOptions = {}): Promise<ScanResult> {
    const scanner = new SigilScanner({ name: 'main', path: this.path, secrets: [secret], clock, ...threads });
    const inventory = { path: this.inventory, keeps, accepted };
    const result = await scanner.scan({ mode: 'full', state: null, openFindings: this.open, inventory });
    if (told) {
      this.take(result);
      await result.inventory?.keep();
    } else await result.inventory?.drop();
    return result;
  }

  /** What a minute scan comes to that has seen everything before. */
  async minute(): Promise<ScanResult> {
    const scanner = new SigilScanner({ name: 'main', path: this.path, secrets: [secret], clock });
    const result = await scanner.scan({ mode: 'incremental', state: null, openFindings: this.open });
    this.take(result);
    return result;
  }

  private take({ findings, cleared }: ScanResult): void {
    this.open = [...this.open.filter(({ id }) => !cleared.includes(id)), ...findings];
  }

  /** What is open, as `check key`, sorted. */
  get standing(): string[] {
    return this.open.map(({ check, key }) => `${check} ${key}`).sort();
  }
}
