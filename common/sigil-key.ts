/** What a store key says about its record. `other` keys are not sigils and are not checked beyond their block. */
export type SigilKey =
  | { readonly kind: 'tenant'; readonly tenant: string; readonly symbol: string; readonly authHash: string }
  | { readonly kind: 'namespaced'; readonly namespace: string; readonly id: string }
  | { readonly kind: 'plain'; readonly id: string }
  /** Of a table whose rows belong to no tenant; no bytes of a store's key say this. */
  | { readonly kind: 'row'; readonly symbol: string; readonly authHash: string }
  | { readonly kind: 'other' };

/** What the bytes of a key can be. */
export type SigilKeyKind = Exclude<SigilKey['kind'], 'row'>;

/** What follows the tenant and its exclamation mark. */
export const tenantMark = Buffer.from('sigil!');
/** What the older forms begin with. */
export const plainMark = Buffer.from('sigil:');
const exclamation = 0x21;
const colon = 0x3a;

/**
 * Finds the parts of a key in its bytes; one instance is reused for many keys.
 * `<tenant>!sigil!<symbol>!<authHash>`: the tenant ends at the first `!`, the hash starts after the last one.
 * `sigil:<namespace>:<id>`: the namespace ends at the first `:`. A key with an empty part is `other`.
 */
export class KeyLayout {
  kind: SigilKeyKind = 'other';
  /** tenant | namespace */
  firstStart = 0;
  firstEnd = 0;
  /** symbol | id */
  secondStart = 0;
  secondEnd = 0;
  /** authHash */
  thirdStart = 0;
  thirdEnd = 0;

  scan(key: Uint8Array): SigilKeyKind {
    this.kind = 'other';
    if (equalBytes(plainMark, key, 0)) this.scanPlain(key);
    else this.scanTenant(key);
    return this.kind;
  }

  private scanPlain(key: Uint8Array): void {
    const start = plainMark.length;
    if (key.length === start) return;
    const split = key.indexOf(colon, start);
    const namespaced = split > start && split < key.length - 1;
    this.kind = namespaced ? 'namespaced' : 'plain';
    this.firstStart = start;
    this.firstEnd = namespaced ? split : start;
    this.secondStart = namespaced ? split + 1 : start;
    this.secondEnd = key.length;
  }

  private scanTenant(key: Uint8Array): void {
    const tenantEnd = key.indexOf(exclamation);
    const start = tenantEnd + 1 + tenantMark.length;
    if (tenantEnd < 1 || !equalBytes(tenantMark, key, tenantEnd + 1)) return;
    const split = key.lastIndexOf(exclamation);
    if (split <= start || split === key.length - 1) return;
    this.kind = 'tenant';
    this.firstStart = 0;
    this.firstEnd = tenantEnd;
    this.secondStart = start;
    this.secondEnd = split;
    this.thirdStart = split + 1;
    this.thirdEnd = key.length;
  }
}

/** Classifies a store key and names its parts. Bytes that are not UTF-8 read as U+FFFD; the record check reports them. */
export function classifyKey(key: Uint8Array): SigilKey {
  const layout = new KeyLayout();
  const kind = layout.scan(key);
  const text = (from: number, to: number) => Buffer.from(key.subarray(from, to)).toString('utf8');
  const first = text(layout.firstStart, layout.firstEnd);
  const second = text(layout.secondStart, layout.secondEnd);
  if (kind === 'tenant') {
    return { kind, tenant: first, symbol: second, authHash: text(layout.thirdStart, layout.thirdEnd) };
  }
  if (kind === 'namespaced') return { kind, namespace: first, id: second };
  if (kind === 'plain') return { kind, id: second };
  return { kind };
}

/** Whether `bytes` say `wanted` from `at` on. */
export function equalBytes(wanted: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let index = 0; index < wanted.length; index++) if (bytes[at + index] !== wanted[index]) return false;
  return true;
}
