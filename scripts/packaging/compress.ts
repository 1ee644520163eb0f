import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Makes what `gzip` reads of these bytes. */
export type Compress = (bytes: Buffer) => Promise<Buffer>;

/** In one piece, and with nothing in its header that differs from one machine or time to another (RFC 1952). */
const program = `
  const { readFileSync, writeFileSync } = require('node:fs');
  const [from, to] = process.argv.slice(1);
  const packed = require('node:zlib').gzipSync(readFileSync(from), { level: 6 });
  packed.writeUInt32LE(0, 4);
  packed[9] = 255;
  writeFileSync(to, packed);`;

/**
 * Compresses with the Node.js of the packages: what deflate makes of the same bytes differs from one version of its library to the
 * next, and the packages shall not depend on which Node.js they were made with.
 * @param node the program
 * @param folder for what is under way
 */
export function compressWith(node: string, folder: string): Compress {
  return async (bytes) => {
    const [from, to] = [join(folder, 'plain'), join(folder, 'packed')];
    await writeFile(from, bytes);
    await run(node, ['-e', program, from, to]);
    const packed = await readFile(to);
    await Promise.all([rm(from), rm(to)]);
    return packed;
  };
}
