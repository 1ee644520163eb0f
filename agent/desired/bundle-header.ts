import { open } from 'node:fs/promises';
import { limits } from '../../common/limits.ts';
import { refusal } from './refusal.ts';

/** The hash that a repository names its objects by. */
export type ObjectFormat = 'sha1' | 'sha256';

/** What a git bundle says of itself (gitformat-bundle): the commits it needs, and those it brings by their references. */
export interface BundleHeader {
  readonly format: ObjectFormat;
  readonly prerequisites: readonly string[];
  readonly heads: readonly { readonly commit: string; readonly ref: string }[];
  /** Where its objects begin in the file. */
  readonly packOffset: number;
}

/** Names that a shell, a refspec and a file system all leave alone. */
const plainRef = /^(HEAD|refs(\/[A-Za-z0-9_][A-Za-z0-9._-]*)+)$/;

/** The text before the pack: version 2, and 3 where the hash is another one. */
export function bundleHeader(of: { format: string; prerequisites: readonly string[]; commit: string }): string {
  const first = of.format === 'sha1' ? ['# v2 git bundle'] : ['# v3 git bundle', `@object-format=${of.format}`];
  const needed = of.prerequisites.map((id) => `-${id} `);
  return `${[...first, ...needed, `${of.commit} refs/heads/main`].join('\n')}\n\n`;
}

/**
 * Reads the header of a bundle file. References that are not named plainly are left out.
 * @throws AppError `validation.manifest` for anything that is not a whole bundle of commits; `file` names it in the reason.
 */
export async function readBundleHeader(path: string, file: string): Promise<BundleHeader> {
  const handle = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(limits.maxBundleHeaderBytes), 0);
    return parseBundleHeader(buffer.toString('latin1', 0, bytesRead), file);
  } finally {
    await handle.close();
  }
}

function parseBundleHeader(text: string, file: string): BundleHeader {
  const end = text.indexOf('\n\n');
  const [signature, ...lines] = text.slice(0, Math.max(end, 0)).split('\n');
  if (end < 0 || (signature !== '# v2 git bundle' && signature !== '# v3 git bundle')) {
    throw refusal('validation.manifest', 'not a git bundle', file);
  }
  const capabilities = lines.filter((line) => line.startsWith('@'));
  const format = formatOf(capabilities, file);
  const id = format === 'sha1' ? '[0-9a-f]{40}' : '[0-9a-f]{64}';
  const [needs, brings] = [new RegExp(`^-(${id})( .*)?$`), new RegExp(`^(${id}) (.+)$`)];
  const [prerequisites, heads]: [string[], { commit: string; ref: string }[]] = [[], []];
  for (const line of lines.slice(capabilities.length)) {
    const [, needed] = needs.exec(line) ?? [];
    const [, commit, ref = ''] = brings.exec(line) ?? [];
    if (needed !== undefined) prerequisites.push(needed);
    else if (commit === undefined) throw refusal('validation.manifest', 'its header cannot be read', file);
    else if (plainRef.test(ref) && !ref.includes('..') && !ref.endsWith('.lock')) heads.push({ commit, ref });
  }
  return { format, prerequisites, heads, packOffset: end + 2 };
}

/** A capability that is not known may mean that not all objects are there. */
function formatOf(capabilities: readonly string[], file: string): ObjectFormat {
  const formats = capabilities.map((line) => /^@object-format=(sha1|sha256)$/.exec(line)?.[1]);
  const [format = 'sha1', ...others] = formats;
  if (formats.includes(undefined) || others.length > 0 || (format !== 'sha1' && format !== 'sha256')) {
    throw refusal('validation.manifest', `a bundle with ${capabilities.join(', ').slice(0, 200)} is not read`, file);
  }
  return format;
}
