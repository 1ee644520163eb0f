export interface Member {
  /** At most 15 characters. */
  readonly name: string;
  readonly bytes: Buffer;
}

/** An ar archive as deb(5) has it: of root, of one time. @param seconds since 1970 */
export function arOf(members: readonly Member[], seconds: number): Buffer {
  const pieces: Buffer[] = [Buffer.from('!<arch>\n')];
  for (const { name, bytes } of members) {
    const fields = [name.padEnd(16), String(seconds).padEnd(12), '0'.padEnd(6), '0'.padEnd(6), '100644'.padEnd(8)];
    pieces.push(Buffer.from(`${fields.join('')}${String(bytes.length).padEnd(10)}\`\n`), bytes);
    if (bytes.length % 2 === 1) pieces.push(Buffer.from('\n'));
  }
  return Buffer.concat(pieces);
}
