import { createHash } from 'node:crypto';
import { isFile, isLink, sorted, type TreeEntry } from './tree.ts';

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/**
 * What a package holds, in the form of `sha256sum`, below a line that says name, version and platform. Links come first, in lines that
 * `sha256sum` and packages before them pass over: `# link PATH -> TARGET`.
 */
export function manifestText(title: string, entries: readonly TreeEntry[]): string {
  const links = sorted(entries.filter(isLink));
  const files = sorted(entries.filter(isFile));
  const lines = [
    ...links.map(({ path, target }) => `# link ${path} -> ${target}`),
    ...files.map(({ path, bytes }) => `${sha256(bytes)}  ${path}`),
  ];
  return `${[`# ${title}`, ...lines].join('\n')}\n`;
}
